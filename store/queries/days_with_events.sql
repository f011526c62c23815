{{- /* Which days of which sites have events. */ -}}
SELECT toString(site) AS name, toUInt16(day) AS number FROM events WHERE {{put .Days}} GROUP BY name, number ORDER BY name, number
