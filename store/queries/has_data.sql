SELECT count() FROM (SELECT 1 FROM events WHERE site = {{arg .Site}} LIMIT 1)
