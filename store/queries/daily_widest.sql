{{- /* The rows of a build, and how many of them its widest dimension has. */ -}}
SELECT sum(n), max(n) FROM (
    SELECT dim, count() AS n FROM daily WHERE site = {{arg .Site}} AND day = toDate({{arg .Day}}) AND build = {{arg .Build}} GROUP BY dim
)
