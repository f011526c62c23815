{{- /* Whether a site has events, or had them. */ -}}
SELECT count() FROM (SELECT 1 FROM events WHERE site = {{arg .Site}} LIMIT 1 UNION ALL SELECT 1 FROM days WHERE site = {{arg .Site}} AND what = 6 LIMIT 1)
