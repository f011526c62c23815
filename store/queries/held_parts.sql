{{- /* Bytes on disk by table, partition and whether they are in use. */ -}}
SELECT table, partition, toUInt8(active) AS used, sum(rows), sum(bytes_on_disk)
FROM system.parts
WHERE database = currentDatabase()
GROUP BY table, partition, used
