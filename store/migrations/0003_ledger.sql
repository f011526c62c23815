-- What became of every hit, as each batch says: beside the events, so that the two can be
-- compared. Rows are only added. What hits had in them is not here.
CREATE TABLE IF NOT EXISTS ledger (
    site      {string} {zstd},           -- "(unknown)": no configured site was named
    minute    DateTime('UTC') {zstd},    -- in which the hits were received
    outcome   {string} {zstd},           -- "counted": events of the batch; else why they were not counted
    hits      UInt64 {zstd},
    stored_at DateTime('UTC') {zstd},    -- when the row was written: late after an outage
    batch_id  UInt64 {zstd}              -- the same as in events
) ENGINE = MergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (site, minute, outcome)
{events_settings}
