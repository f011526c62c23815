{{- /* Visits with a counted row: asked first where filters are on events, so that only those
       visits are put together. */ -}}
visit_id IN (
    SELECT visit_id FROM events
    WHERE site = {{arg .Site}} AND {{put .Days}} AND kind IN (1, 2) AND visit_id != 0 AND {{put .Where}} AND {{put .Counted}}
)
