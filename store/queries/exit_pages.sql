{{- /* events, each row with its visit's last page viewed. */ -}}
events ANY LEFT JOIN (
    SELECT visit_id, {{.ExitPage}} AS exit_page
    FROM events
    WHERE site = {{arg .Site}} AND {{put .Days}} AND kind = 1 AND visit_id != 0
    GROUP BY visit_id
) AS exits USING (visit_id)
