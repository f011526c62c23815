{{- /* One report: rows of events, of visits and of engagement, each grouped by the same
       dimensions, laid over each other and added up. */ -}}
SELECT
    {{range .Dims}}{{.}}, {{end}}
    {{range $i, $m := .Metrics}}{{if $i}}, {{end}}{{put $m}} AS m{{$i}}{{end}}
FROM (
    {{range $i, $b := .Branches}}{{if $i}}
    UNION ALL
    {{end}}{{put $b}}{{end}}
)
{{- if .Dims}}
GROUP BY {{range $i, $d := .Dims}}{{if $i}}, {{end}}{{$d}}{{end}}
HAVING sum(hits) > 0{{if .Only}} AND {{put .Only}}{{end}}
ORDER BY {{range $i, $o := .Order}}{{if $i}}, {{end}}{{$o}}{{end}}
LIMIT {{.Offset}}, {{.Limit}}
{{- end}}
