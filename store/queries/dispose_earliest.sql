SELECT toString(site) AS name, toUInt32(min(time)) AS first FROM events WHERE {{put .Due}} GROUP BY name
