{{- /* Whether visitors of a day have the same id on another day. */ -}}
SELECT count() FROM (
    SELECT 1 FROM events
    WHERE site = {{arg .Site}} AND {{put .Around}} AND day != toDate({{arg .Day}}) AND visit_id != 0
        AND visitor_id IN (SELECT visitor_id FROM events WHERE site = {{arg .Site}} AND day = toDate({{arg .Day}}) AND visit_id != 0)
    LIMIT 1
)
