{{- /* Events of a day that are not on the books as disposed, by minute and batch. */ -}}
SELECT toUInt64(intDiv(toUInt32(time), 60)) AS slot, batch_id AS batch, toUInt64(count()) AS n
FROM events
WHERE site = {{arg .Site}} AND day = toDate({{arg .Day}}) AND toUInt32(time) >= {{arg .Books}}{{if .Without}} AND batch_id NOT IN {{put .Without}}{{end}} AND NOT ({{put .Booked}})
GROUP BY slot, batch
ORDER BY slot, batch
LIMIT {{arg .Limit}}
