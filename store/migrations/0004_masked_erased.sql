-- What was masked in an event's texts (bits, 0: nothing), and in the ledger on which page; and
-- rows of the ledger that say that events are not held any more, with what took them.
-- One column a statement: on servers that lack IF NOT EXISTS here the migrator looks itself.
ALTER TABLE events ADD COLUMN IF NOT EXISTS masked UInt16 {zstd};
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS masked UInt16 {zstd};
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS page {string} {zstd};
ALTER TABLE ledger ADD COLUMN IF NOT EXISTS ref UInt64 {zstd};
