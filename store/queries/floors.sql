{{- /* What the log of days says of disposals, by site. */ -}}
SELECT toString(site) AS name, toUInt16(maxIf(day, what = 6)) AS floor, argMaxIf(build, gen, what = 6) AS under_way,
    argMaxIf(marks, gen, what = 6) AS earliest, maxIf(gen, what = 6) AS generation, maxIf(marks, what = 7) AS books
FROM days
WHERE what IN (6, 7)
GROUP BY name
