{{- /* The rows of a build by dimension. */ -}}
SELECT dim, count() AS n FROM daily WHERE site = {{arg .Site}} AND day = toDate({{arg .Day}}) AND build = {{arg .Build}} GROUP BY dim
