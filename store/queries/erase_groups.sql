{{- /* What an order takes and is not on the books yet, by minute and batch. */ -}}
SELECT toString(site) AS name, toUInt64(intDiv(toUInt32(time), 60)) AS slot, batch_id AS batch, toUInt64(count()) AS n
FROM events
WHERE {{put .Taken}}
GROUP BY name, slot, batch
ORDER BY slot, name, batch
LIMIT {{arg .Limit}}
