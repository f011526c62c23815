-- One row an event: the single truth, from which everything else is derived.
-- {string}, {zstd} and {events_settings} are filled from the server's capabilities: servers
-- before 20 have neither LowCardinality nor codecs.
CREATE TABLE IF NOT EXISTS events (
    site            {string} {zstd},
    day             Date {zstd},             -- on the site's own calendar
    time            DateTime('UTC') {zstd},
    kind            UInt8 {zstd},            -- 1 page view, 2 event, 3 engagement, 4 email open, 5 email click
    name            {string} {zstd},
    interactive     UInt8 {zstd},
    visitor_id      UInt64 {zstd},           -- 0: unlinked
    visit_id        UInt64 {zstd},           -- 0: no visit
    visit_seq       UInt16 {zstd},           -- place among the events of its visit, from 1
    hostname        {string} {zstd},
    page            {string} {zstd},
    title           {string} {zstd},
    -- the visit's own attributes, the same on each of its rows
    entry_page      {string} {zstd},
    referrer        {string} {zstd},
    source          {string} {zstd},
    channel         {string} {zstd},
    utm_source      {string} {zstd},
    utm_medium      {string} {zstd},
    utm_campaign    {string} {zstd},
    utm_content     {string} {zstd},
    utm_term        {string} {zstd},
    click_id        {string} {zstd},
    device          {string} {zstd},
    browser         {string} {zstd},
    browser_version {string} {zstd},
    os              {string} {zstd},
    os_version      {string} {zstd},
    country         {string} {zstd},
    region          {string} {zstd},
    region_name     {string} {zstd},
    city            {string} {zstd},
    -- engagement and custom events
    engaged_ms      UInt32 {zstd},
    scroll          UInt8 {zstd},
    prop_keys       Array({string}) {zstd},
    prop_values     Array(String) {zstd},
    revenue         Int64 {zstd},            -- millionths of currency
    currency        {string} {zstd},
    -- provenance
    network         {string} {zstd},                -- truncated network, empty unless the site keeps it
    notice          UInt32 {zstd},           -- version of the notice in force
    event_id        UInt64 {zstd},           -- random; the same after a replay
    batch_id        UInt64 {zstd}            -- the spool segment the row came from
) ENGINE = MergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (site, day, kind, visit_id)
{events_settings}
