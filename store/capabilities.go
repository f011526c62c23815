package store

import (
	"strconv"
	"strings"
)

// capabilities says what a server can do. Only statements that define tables and the
// settings of inserts depend on it; queries are the same text everywhere.
type capabilities struct {
	version        string
	lowCardinality bool // LowCardinality(String) without an experimental setting
	codecs         bool // CODEC(...) on columns
	deduplication  bool // insert_deduplication_token and non_replicated_deduplication_window
	fsync          bool // fsync_after_insert
	asyncInserts   bool // has the setting async_insert, which must be off
	ttl            bool
	addIfMissing   bool // ALTER TABLE ... ADD COLUMN IF NOT EXISTS
}

// The first versions, generous by some releases, in which a capability is complete.
func capabilitiesOf(version string) capabilities {
	from := func(major, minor int) bool { return atLeast(version, major, minor) }
	return capabilities{
		version:        version,
		lowCardinality: from(20, 1),
		codecs:         from(20, 1),
		ttl:            from(20, 1),
		addIfMissing:   from(20, 1),
		fsync:          from(21, 1),
		deduplication:  from(22, 3),
		asyncInserts:   from(22, 3),
	}
}

// atLeast compares a version like "18.16.1"; one that cannot be read is taken for the
// oldest supported.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, err1 := strconv.Atoi(parts[0])
	b, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

// ddl fills the placeholders of a statement that defines a table:
//
//	{string}           a string column that repeats its values
//	{zstd}             a column's compression
//	{events_settings}  the settings of the tables that batches go to: a written part is synced to disk
//	                   before the insert is answered, and the tokens of the last inserts
//	                   are remembered. Identical inserts without a token count as
//	                   repetitions there, so no table that is written otherwise may have this.
//	{synced}           the first half of that, for other tables
func (c capabilities) ddl(sql string) string {
	stringType, zstd := "String", ""
	if c.lowCardinality {
		stringType = "LowCardinality(String)"
	}
	if c.codecs {
		zstd = "CODEC(ZSTD(1))"
	}
	var settings []string
	synced := ""
	if c.fsync {
		settings = append(settings, "fsync_after_insert = 1", "fsync_part_directory = 1")
		synced = "SETTINGS " + strings.Join(settings, ", ")
	}
	if c.deduplication {
		settings = append(settings, "non_replicated_deduplication_window = 1000")
	}
	events := ""
	if len(settings) > 0 {
		events = "SETTINGS " + strings.Join(settings, ", ")
	}
	return strings.NewReplacer("{string}", stringType, "{zstd}", zstd, "{events_settings}", events, "{synced}", synced).Replace(sql)
}
