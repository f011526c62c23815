{{- /* Whole visits that have a counted row: a page view or custom event in the period
       that meets the filters. Engagement lengthens a visit and is otherwise not counted. */ -}}
SELECT
    {{range $i, $d := .Dims}}d{{$i}}, {{end}}
    {{- range $i, $c := .Columns}}{{if $i}}, {{end}}{{$c}}{{end}}
FROM (
    SELECT
        {{range $i, $d := .Dims}}{{put $d}} AS d{{$i}}, {{end}}
        {{if .People}}any(visitor_id) AS visitor, {{end}}
        {{- put .Entered}} AS entry,
        countIf(kind = 1) AS views,
        countIf(kind = 2 AND interactive != 0) AS acts,
        toUInt64(max(toUInt32(time)) - min(toUInt32(time))) AS seconds
    FROM {{put .Source}}
    WHERE site = {{arg .Site}} AND {{put .Days}} AND kind < 4 AND visit_id != 0 AND {{put .Where}}
    GROUP BY day, visit_id
    HAVING countIf(kind < 3 AND {{put .Counted}}) > 0
)
{{- if .Dims}}
GROUP BY {{range $i, $d := .Dims}}{{if $i}}, {{end}}d{{$i}}{{end}}
{{- end}}
