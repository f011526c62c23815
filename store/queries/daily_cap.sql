{{- /* Copies a build with the smallest values of its widest dimensions laid together. */ -}}
INSERT INTO daily (site, dim, day, value, build, visitors, visits, pageviews, events,
    started, visit_views, bounces, duration, depth, engaged, engaged_visits)
SELECT {{arg .Site}}, dim, toDate({{arg .Day}}), v, toUInt64({{arg .Build}}), sum(visitors), sum(visits), sum(pageviews), sum(events),
    sum(started), sum(visit_views), sum(bounces), sum(duration), sum(depth), sum(engaged), sum(engaged_visits)
FROM (
    SELECT *, if((dim, value) IN (
        SELECT dim, value FROM daily
        WHERE site = {{arg .Site}} AND day = toDate({{arg .Day}}) AND build = {{arg .Wide}}
        ORDER BY dim, visitors DESC, events DESC, value LIMIT {{.Cap}} BY dim
    ), toString(value), {{arg .Other}}) AS v
    FROM daily
    WHERE site = {{arg .Site}} AND day = toDate({{arg .Day}}) AND build = {{arg .Wide}}
)
GROUP BY dim, v
