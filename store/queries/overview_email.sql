{{- /* How often the pixels of e-mail campaigns were fetched. */ -}}
SELECT toString(utm_campaign) AS campaign, toString(utm_content) AS message, count() AS opens,
    uniqExactIf(visitor_id, visitor_id != 0) AS openers
FROM events
WHERE site = {{arg .Site}} AND {{put .Days}} AND kind = 4 AND {{put .Within}}
GROUP BY campaign, message
ORDER BY opens DESC, campaign, message
LIMIT {{.Limit}}
