{{- /* The figures of many groups in one pass. A group is a pair (dimension, value); each
       row or visit lists the pairs it belongs to. Linked page views and events are counted
       with their visits for what is the visit's own, row by row for what is the event's. */ -}}
SELECT
    k.1 AS dim, k.2 AS value,
    sum(visitors_) AS visitors, sum(visits_) AS visits, sum(pageviews_) AS pageviews, sum(events_) AS events,
    sum(started_) AS started, sum(entries_) AS entries, sum(visit_views_) AS visit_views, sum(bounces_) AS bounces, sum(duration_) AS duration,
    sum(depth_) AS depth, sum(engaged_) AS engaged, sum(engaged_visits_) AS engaged_visits
FROM (
{{- range $i, $b := .Branches}}{{if $i}}
    UNION ALL
{{- end}}
    {{put $b}}
{{- end}}
)
GROUP BY dim, value
{{- if .Panels}}
HAVING events > 0{{if .NoEmpty}} AND NOT (value = '' AND dim IN ({{.NoEmpty}})){{end}}
ORDER BY dim, visitors DESC, value
LIMIT {{.Limit}} BY dim
{{- end}}
