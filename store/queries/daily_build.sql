{{- /* Rolls up one day of one site. */ -}}
INSERT INTO daily (site, dim, day, value, build, visitors, visits, pageviews, events,
    started, visit_views, bounces, duration, depth, engaged, engaged_visits)
SELECT {{arg .Site}}, dim, toDate({{arg .Day}}), value, toUInt64({{arg .Build}}), visitors, visits, pageviews, events,
    started, visit_views, bounces, duration, depth, engaged, engaged_visits
FROM (
{{put .Figures}}
)
