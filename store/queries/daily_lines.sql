{{- /* How many rows each build has. */ -}}
SELECT build, count(), toUInt16(min(day)), toUInt16(max(day)) FROM daily GROUP BY build ORDER BY build
