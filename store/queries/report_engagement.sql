{{- /* Time and depth: the deepest scroll of each visit and the time it was engaged, in each
       group. */ -}}
SELECT
    {{range $i, $d := .Dims}}d{{$i}}, {{end}}
    {{- range $i, $c := .Columns}}{{if $i}}, {{end}}{{$c}}{{end}}
FROM (
    SELECT
        {{range $i, $d := .Dims}}{{put $d}} AS d{{$i}}, {{end}}
        {{if .People}}any(visitor_id) AS visitor, {{end}}
        {{- ""}}toUInt64(max(scroll)) AS deepest,
        sum(engaged_ms) AS ms
    FROM {{put .Source}}
    WHERE site = {{arg .Site}} AND {{put .Days}} AND kind = 3 AND visit_id != 0 AND {{put .Where}}
    GROUP BY {{range $i, $d := .Dims}}d{{$i}}, {{end}}visit_id
)
{{- if .Dims}}
GROUP BY {{range $i, $d := .Dims}}{{if $i}}, {{end}}d{{$i}}{{end}}
{{- end}}
