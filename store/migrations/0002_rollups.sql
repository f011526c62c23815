-- What is known of each (site, day), and the figures of days that are over. Both are
-- derived from events and can be made again at any time.
-- {synced}: a part is on disk before the insert is answered, where the server can do that.

-- A log: rows are only added. A day is closed when its last build has seen all of its marks.
CREATE TABLE IF NOT EXISTS days (
    site   {string},
    day    Date,
    what   UInt8,            -- 1 a build began, 2 one is complete, 3 a mark: events came late, 4 the month was added up, 6 events before the day are disposed of, 7 the books begin with it
    build  UInt64,           -- the rows of daily that are this build's; 0 for a mark
    gen    UInt32,           -- of builds: the newest counts
    marks  UInt64,           -- of complete builds: how many marks there were before it began; of months: a sum over their builds
    longer UInt8,            -- of complete builds: visitor ids of the day occur on other days
    lines  UInt64,           -- of complete builds: rows in daily
    at     DateTime('UTC')
) ENGINE = MergeTree
ORDER BY (site, day)
{synced};

-- The figures of one day by one dimension, or (dim + 100) of a month, under its first day. Rows of builds that days does not name as the
-- newest complete one of their day do not count.
CREATE TABLE IF NOT EXISTS daily (
    site           {string},
    dim            UInt8,          -- numbers in the program's table of dimensions; 0: all rows together
    day            Date {zstd},
    value          {string},
    build          UInt64 {zstd},
    visitors       UInt64 {zstd},
    visits         UInt64 {zstd},
    pageviews      UInt64 {zstd},
    events         UInt64 {zstd},
    started        UInt64 {zstd},  -- visits as a whole; of pages none, see their entries
    visit_views    UInt64 {zstd},
    bounces        UInt64 {zstd},
    duration       UInt64 {zstd},
    depth          UInt64 {zstd},
    engaged        UInt64 {zstd},
    engaged_visits UInt64 {zstd}
) ENGINE = MergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (site, dim, day, value)
{synced};
