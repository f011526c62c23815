{{- /* Page views and custom events, each row by itself. */ -}}
SELECT
    arrayJoin(arrayFilter(x -> x.2 != '' OR x.1 != {{.GoalID}}, [{{range $i, $k := .Keys}}{{if $i}}, {{end}}{{put $k}}{{end}}])) AS k,
    uniqExactIf(visitor_id, visit_id != 0) AS visitors_,
    uniqExactIf(visit_id, visit_id != 0) AS visits_,
    countIf(kind = 1) AS pageviews_,
    count() AS events_,
    toUInt64(0) AS started_, toUInt64(0) AS entries_, toUInt64(0) AS visit_views_, toUInt64(0) AS bounces_, toUInt64(0) AS duration_,
    toUInt64(0) AS depth_, toUInt64(0) AS engaged_, toUInt64(0) AS engaged_visits_
FROM {{put .Source}}
WHERE site = {{arg .Site}} AND {{put .Days}} AND kind IN (1, 2) AND {{if .Unlinked}}visit_id = 0 AND {{end}}{{put .Where}}
GROUP BY k
