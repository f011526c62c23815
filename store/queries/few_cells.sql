{{- /* How many visitors are behind each cell of a few tables at once, a key being (table, row, column, flags).
       What a visitor weighs is shared among the cells of a table that the visitor is in, so that the
       weights of some cells together never come to more than the visitors in them. */ -}}
SELECT t, c.1 AS a, c.2 AS b, c.3 AS f, countIf(who != 0) AS visitors, sum(share) AS weight
FROM (
    SELECT t, who, arrayJoin(cells) AS c, if(who = 0, toUInt64(0), toUInt64(intDiv({{.Unit}}, length(cells)))) AS share
    FROM (
        SELECT k.1 AS t, who, groupUniqArray((k.2, k.3, k.4)) AS cells
        FROM (
            SELECT if(visit_id = 0, toUInt64(0), visitor_id) AS who, arrayJoin([{{range $i, $k := .Keys}}{{if $i}}, {{end}}{{put $k}}{{end}}]) AS k
            FROM {{put .Source}}
            WHERE site = {{arg .Site}} AND {{put .Days}} AND kind IN (1, 2) AND {{put .Where}}
        )
        GROUP BY t, who
    )
)
GROUP BY t, a, b, f
ORDER BY t, a, b, f
LIMIT {{.Limit}}
