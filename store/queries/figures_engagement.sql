{{- /* The deepest scroll of each visit and the time it was engaged, in each group. */ -}}
SELECT
    k,
    toUInt64(0) AS visitors_, toUInt64(0) AS visits_, toUInt64(0) AS pageviews_, toUInt64(0) AS events_,
    toUInt64(0) AS started_, toUInt64(0) AS entries_, toUInt64(0) AS visit_views_, toUInt64(0) AS bounces_, toUInt64(0) AS duration_,
    sum(deepest) AS depth_, sum(ms) AS engaged_, count() AS engaged_visits_
FROM (
    SELECT
        arrayJoin([{{range $i, $k := .Keys}}{{if $i}}, {{end}}{{put $k}}{{end}}]) AS k,
        toUInt64(max(scroll)) AS deepest,
        sum(engaged_ms) AS ms
    FROM events
    WHERE site = {{arg .Site}} AND {{put .Days}} AND kind = 3 AND visit_id != 0
    GROUP BY k, visit_id
)
GROUP BY k
