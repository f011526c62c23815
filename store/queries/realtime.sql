SELECT uniqExact(visitor_id)
FROM events
WHERE site = {{arg .Site}} AND {{put .Days}} AND kind < 4 AND visit_id != 0
    AND toUInt32(time) > {{arg .From}} AND toUInt32(time) <= {{arg .To}}
