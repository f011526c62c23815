SELECT DISTINCT arrayJoin(prop_keys) AS k FROM events WHERE site = {{arg .Site}} AND {{put .Days}} ORDER BY k LIMIT {{arg .Limit}}
