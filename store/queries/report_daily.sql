{{- /* A report's columns for closed days, from their rollup. Renamed inside: a column
       and the sum of it by one name is more than the oldest servers can tell apart. */ -}}
SELECT
    {{range $i, $d := .Dims}}{{put $d}} AS d{{$i}}, {{end}}
    {{- range $i, $c := .Columns}}{{if $i}}, {{end}}{{$c}}{{end}}
FROM (
    SELECT day, value, visitors AS visitors_, visits AS visits_, pageviews AS pageviews_, events AS events_,
        started AS started_, visit_views AS visit_views_, bounces AS bounces_, duration AS duration_,
        depth AS depth_, engaged AS engaged_, engaged_visits AS engaged_visits_
    FROM daily
    WHERE site = {{arg .Site}} AND dim = {{.Dim}} AND {{put .Days}} AND {{put .Builds}}
)
{{- if .Dims}}
GROUP BY {{range $i, $d := .Dims}}{{if $i}}, {{end}}d{{$i}}{{end}}
{{- end}}
