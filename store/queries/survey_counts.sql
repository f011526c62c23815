{{- /* What a site's rows have in them that conditions speak of. */ -}}
SELECT
    toUInt64(countIf(currency != '')) AS revenue,
    toUInt64(countIf(utm_source != '' OR utm_medium != '' OR utm_campaign != '' OR utm_content != '' OR utm_term != '' OR click_id != '')) AS campaigns,
    toUInt64(max(if(position(network, '.') > 0, toUInt64OrZero(substring(network, position(network, '/') + 1)), toUInt64(0)))) AS bits
FROM events
WHERE site = {{arg .Site}} AND {{put .Days}}
