{{- /* Distinct texts that visitors' pages sent, the commonest first. */ -}}
SELECT t, count() AS n
FROM (SELECT arrayJoin(arrayConcat([toString(page), toString(title), toString(referrer)], prop_values)) AS t FROM events WHERE site = {{arg .Site}} AND {{put .Days}})
WHERE t != ''
GROUP BY t
ORDER BY n DESC, t
LIMIT {{arg .Limit}}
