{{- /* Deletions under way. */ -}}
SELECT toUInt64(count()) FROM system.mutations WHERE database = currentDatabase() AND table = {{arg .Table}} AND is_done = 0
