SELECT toString(site) AS name, toUInt16(day) AS number
FROM events
WHERE {{put .Partition}} = {{arg .Month}} AND {{put .Due}}
GROUP BY name, number
ORDER BY name, number
