{{- /* Rows of a month that are too old, by site: those that can go, and all. */ -}}
SELECT toString(site) AS name, countIf({{if .Without}}batch_id NOT IN {{put .Without}}{{else}}1{{end}}) AS n, count() AS rows
FROM {{.Table}}
WHERE {{put .Partition}} = {{arg .Month}} AND {{put .Due}}
GROUP BY name
ORDER BY name
