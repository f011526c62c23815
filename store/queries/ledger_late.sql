{{- /* Minutes whose hits reached the database late: when, how many, and when the last of them did. */ -}}
SELECT toUInt32(minute) AS at, sum(hits) AS n, max(toUInt32(stored_at)) AS stored
FROM ledger
WHERE ref = 0 AND toUInt32(minute) >= {{arg .From}} AND toUInt32(minute) < {{arg .To}} AND site = {{arg .Site}} AND toUInt32(stored_at) > toUInt32(minute) + {{arg .Late}}
GROUP BY at
ORDER BY at
LIMIT {{arg .Limit}}
