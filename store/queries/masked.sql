{{- /* Personal data that was found in hits, by page and kind (a bit): in events, where it is masked, and in hits dropped for it. */ -}}
SELECT name, place, bit, sum(stored) AS masked_hits, sum(gone) AS dropped_hits
FROM (
    SELECT toString(site) AS name, toString(page) AS place, arrayJoin([1, 2, 4, 8, 16, 32]) AS bit, toUInt64(bitAnd(masked, bit) != 0) AS stored, toUInt64(0) AS gone
    FROM events
    WHERE masked != 0 AND toUInt32(time) >= {{arg .From}} AND toUInt32(time) < {{arg .To}} AND {{put .Days}}{{if .Erased}} AND NOT {{put .Erased}}{{end}}{{if .Site}} AND site = {{arg .Site}}{{end}}
    UNION ALL
    SELECT toString(site) AS name, toString(page) AS place, arrayJoin([1, 2, 4, 8, 16, 32]) AS bit, toUInt64(0) AS stored, toUInt64(bitAnd(masked, bit) != 0) * hits AS gone
    FROM ledger
    WHERE masked != 0 AND toUInt32(minute) >= {{arg .From}} AND toUInt32(minute) < {{arg .To}}{{if .Site}} AND site = {{arg .Site}}{{end}}
)
WHERE stored + gone > 0
GROUP BY name, place, bit
ORDER BY masked_hits + dropped_hits DESC, name, place, bit
LIMIT {{arg .Limit}}
