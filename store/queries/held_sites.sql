SELECT toString(site) AS name FROM {{.Table}} GROUP BY name ORDER BY name
