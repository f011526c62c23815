-- One row an event: the single truth, from which everything else is derived.
-- {string}, {zstd} and {events_settings} are filled from the server's capabilities: servers
-- before 20 have neither LowCardinality nor codecs.
CREATE TABLE IF NOT EXISTS events (
    site            {string},
    day             Date {zstd},             -- on the site's own calendar
    time            DateTime('UTC') {zstd},
    kind            UInt8 {zstd},            -- 1 page view, 2 event, 3 engagement, 4 email open, 5 email click
    name            {string},
    interactive     UInt8 {zstd},
    visitor_id      UInt64 {zstd},           -- 0: unlinked
    visit_id        UInt64 {zstd},           -- 0: no visit
    hostname        {string},
    page            {string},
    title           {string},
    -- the visit's own attributes, the same on each of its rows
    entry_page      {string},
    referrer        {string},
    source          {string},
    channel         {string},
    utm_source      {string},
    utm_medium      {string},
    utm_campaign    {string},
    utm_content     {string},
    utm_term        {string},
    click_id        {string},
    device          {string},
    browser         {string},
    browser_version {string},
    os              {string},
    os_version      {string},
    country         {string},
    region          {string},
    region_name     {string},
    city            {string},
    -- engagement and custom events
    engaged_ms      UInt32 {zstd},
    scroll          UInt8 {zstd},
    prop_keys       Array({string}) {zstd},
    prop_values     Array(String) {zstd},
    revenue         Int64 {zstd},            -- millionths of currency
    currency        {string},
    -- provenance
    network         {string},                -- truncated network, empty unless the site keeps it
    notice          UInt32 {zstd},           -- version of the notice in force
    event_id        UInt64 {zstd},           -- random; the same after a replay
    batch_id        UInt64 {zstd}            -- the spool segment the row came from
) ENGINE = MergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (site, day, kind, visit_id)
{events_settings}
