{{- /* Linked rows, a visit at a time. {{.Steps}} is a group that counts visits at their first
       row only, its visitors are counted by figures_events. */ -}}
SELECT
    arrayJoin(keys) AS k,
    {{if .Steps}}if(k.1 = {{.Steps}}, 0, uniqExact(visitor)){{else}}uniqExact(visitor){{end}} AS visitors_,
    {{if .Steps}}if(k.1 = {{.Steps}}, 0, count()){{else}}count(){{end}} AS visits_,
    {{if .Steps}}if(k.1 = {{.Steps}}, 0, sum(views)){{else}}sum(views){{end}} AS pageviews_,
    {{if .Steps}}if(k.1 = {{.Steps}}, 0, sum(hits)){{else}}sum(hits){{end}} AS events_,
    count() AS started_,
    countIf(entry) AS entries_,
    sum(all_views) AS visit_views_,
    countIf(all_views = 1 AND acts = 0 AND entry) AS bounces_,
    sum(seconds) AS duration_,
    toUInt64(0) AS depth_, toUInt64(0) AS engaged_, toUInt64(0) AS engaged_visits_
FROM (
    SELECT
        [{{range $i, $k := .Keys}}{{if $i}}, {{end}}{{put $k}}{{end}}] AS keys,
        any(visitor_id) AS visitor,
        countIf(kind = 1 AND {{put .Counted}}) AS views,
        countIf(kind < 3 AND {{put .Counted}}) AS hits,
        countIf(kind = 1) AS all_views,
        countIf(kind = 2 AND interactive != 0) AS acts,
        {{put .Entered}} AS entry,
        toUInt64(max(toUInt32(time)) - min(toUInt32(time))) AS seconds
    FROM {{put .Source}}
    WHERE site = {{arg .Site}} AND {{put .Days}} AND kind < 4 AND visit_id != 0 AND {{put .Where}}
    GROUP BY day, visit_id
    HAVING hits > 0
)
GROUP BY k
