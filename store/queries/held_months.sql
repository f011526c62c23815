{{- /* What a table holds by site and month, and how much of it is too old. */ -}}
SELECT toString(site) AS name, toUInt32({{put .Partition}}) AS month, countIf({{put .Due}}) AS n, count() AS rows, toUInt32(min({{.Column}})) AS oldest
FROM {{.Table}}
GROUP BY name, month
ORDER BY name, month
