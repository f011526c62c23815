{{- /* Rows that an order takes and that are on the books as erased. */ -}}
SELECT event_id AS id, toString(site) AS name, toUInt16(day) AS number
FROM events
WHERE {{put .Booked}}
ORDER BY number, name, id
LIMIT {{arg .Limit}}
