{{- /* Hits by site, span of minutes and outcome as the ledger says, and events (outcome '') as they are there. */ -}}
SELECT name, slot, what, sum(n) AS hits
FROM (
    SELECT toString(site) AS name, intDiv(toUInt64(toUInt32(minute)), {{arg .Step}}) AS slot, toString(outcome) AS what, sum(hits) AS n
    FROM ledger
    WHERE toUInt32(minute) >= {{arg .From}} AND toUInt32(minute) < {{arg .To}}{{if .Minutes}} AND NOT {{put .Minutes}}{{end}}{{if .Site}} AND site = {{arg .Site}}{{end}}{{if .Without}} AND batch_id NOT IN {{put .Without}}{{end}}
    GROUP BY name, slot, what
    UNION ALL
    SELECT toString(site) AS name, intDiv(toUInt64(toUInt32(time)), {{arg .Step}}) AS slot, '' AS what, toUInt64(count()) AS n
    FROM events
    WHERE toUInt32(time) >= {{arg .From}} AND toUInt32(time) < {{arg .To}} AND {{put .Days}}{{if .Times}} AND NOT {{put .Times}}{{end}}{{if .Erased}} AND NOT {{put .Erased}}{{end}}{{if .Site}} AND site = {{arg .Site}}{{end}}{{if .Without}} AND batch_id NOT IN {{put .Without}}{{end}}
    GROUP BY name, slot, what
)
GROUP BY name, slot, what
