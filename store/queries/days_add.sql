{{- /* Adds to the log of days. */ -}}
INSERT INTO days (site, day, what, build, gen, marks, longer, lines, at)
SELECT x.1, toDate(x.2), {{arg .What}}, toUInt64({{arg .Build}}), {{arg .Gen}}, {{arg .Marks}}, {{arg .Longer}}, {{arg .Lines}}, toDateTime({{arg .At}})
FROM (SELECT arrayJoin([{{range $i, $d := .Days}}{{if $i}}, {{end}}({{arg $d.Site}}, {{arg $d.Day}}){{end}}]) AS x)
