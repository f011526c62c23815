{{- /* Page views and custom events, each row by itself. Unlinked rows (visit_id 0) count
       as page views and events only. */ -}}
SELECT
    {{range $i, $d := .Dims}}{{put $d}} AS d{{$i}}, {{end}}
    {{- range $i, $c := .Columns}}{{if $i}}, {{end}}{{$c}}{{end}}
FROM {{put .Source}}
WHERE site = {{arg .Site}} AND {{put .Days}} AND kind IN (1, 2) AND {{put .Where}}
{{- if .Dims}}
GROUP BY {{range $i, $d := .Dims}}{{if $i}}, {{end}}d{{$i}}{{end}}
{{- end}}
