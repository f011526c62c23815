{{- /* Adds up the closed days of a month. */ -}}
INSERT INTO daily (site, dim, day, value, build, visitors, visits, pageviews, events,
    started, visit_views, bounces, duration, depth, engaged, engaged_visits)
SELECT {{arg .Site}}, toUInt8(dim + {{.Offset}}), toDate({{arg .Day}}), v, toUInt64({{arg .Build}}), sum(visitors), sum(visits), sum(pageviews), sum(events),
    sum(started), sum(visit_views), sum(bounces), sum(duration), sum(depth), sum(engaged), sum(engaged_visits)
FROM (
    SELECT *, toString(value) AS v FROM daily
    WHERE site = {{arg .Site}} AND dim < {{.Offset}} AND {{put .Days}} AND {{put .Builds}}
)
GROUP BY dim, v
