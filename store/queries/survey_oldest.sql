{{- /* The oldest row of each table, by site. Tables that have days tell of their day. Erased rows that a merge has not
       removed yet are still there. */ -}}
SELECT what, name, min(oldest) AS first
FROM (
    SELECT 'events' AS what, toString(site) AS name, toUInt32(min(time)) AS oldest FROM events GROUP BY name
    UNION ALL
    SELECT 'ledger' AS what, toString(site) AS name, toUInt32(min(minute)) AS oldest FROM ledger GROUP BY name
    UNION ALL
    SELECT 'rollups' AS what, toString(site) AS name, toUInt32(toDateTime(min(day), 'UTC')) AS oldest FROM daily GROUP BY name
    UNION ALL
    SELECT 'list of days' AS what, toString(site) AS name, toUInt32(toDateTime(min(day), 'UTC')) AS oldest FROM days GROUP BY name
)
GROUP BY what, name
ORDER BY first, what, name
