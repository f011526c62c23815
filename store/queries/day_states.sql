{{- /* What is known of the days of one site, or of all sites. */ -}}
SELECT toString(site) AS name, toUInt16(day) AS number,
    countIf(what = 3) AS late,
    argMaxIf(build, gen, what = 2) AS newest,
    argMaxIf(marks, gen, what = 2) AS seen,
    argMaxIf(longer, gen, what = 2) AS beyond,
    argMaxIf(lines, gen, what = 2) AS kept,
    max(gen) AS generation,
    argMaxIf(build, gen, what = 4) AS month,
    argMaxIf(marks, gen, what = 4) AS month_of,
    argMaxIf(lines, gen, what = 4) AS month_kept,
    argMaxIf(build, gen, what = 5) AS capped,
    argMaxIf(marks, gen, what = 5) AS capped_in
FROM days
WHERE what < 6 AND {{if .Site}}site = {{arg .Site}} AND {{end}}{{put .Days}}
GROUP BY name, number
ORDER BY name, number
