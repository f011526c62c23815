{{- /* Closed days from their rollup. */ -}}
SELECT
    {{if .Stepped}}arrayJoin([(dim, value), ({{.StepID}}, toString({{put .Step}}))]){{else}}(toUInt8(dim % {{.Offset}}), value){{end}} AS k,
    sum(visitors) AS visitors_, sum(visits) AS visits_, sum(pageviews) AS pageviews_, sum(events) AS events_,
    sum(started) AS started_, sum(started) AS entries_, sum(visit_views) AS visit_views_, sum(bounces) AS bounces_, sum(duration) AS duration_,
    sum(depth) AS depth_, sum(engaged) AS engaged_, sum(engaged_visits) AS engaged_visits_
FROM daily
WHERE site = {{arg .Site}} AND dim IN ({{.Dims}}) AND {{put .Days}} AND {{put .Builds}}
GROUP BY k
