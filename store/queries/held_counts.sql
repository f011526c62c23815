{{- /* What is held of subjects. */ -}}
SELECT kind, toUInt64(count()) FROM events WHERE {{put .Subjects}} GROUP BY kind ORDER BY kind
