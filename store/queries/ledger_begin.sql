{{- /* When the database got its first tables and its ledger. */ -}}
SELECT minIf(toUInt32(applied_at), version = 1) AS tables, minIf(toUInt32(applied_at), version = {{arg .Ledger}}) AS ledger
FROM schema_migrations
