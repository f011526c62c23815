{{- /* How many rows a report has before it is cut. */ -}}
SELECT count() FROM (
    SELECT {{range $i, $d := .Dims}}{{if $i}}, {{end}}{{$d}}{{end}}
    FROM (
        {{range $i, $b := .Branches}}{{if $i}}
        UNION ALL
        {{end}}{{put $b}}{{end}}
    )
    GROUP BY {{range $i, $d := .Dims}}{{if $i}}, {{end}}{{$d}}{{end}}
    HAVING sum(hits) > 0{{if .Only}} AND {{put .Only}}{{end}}
)
