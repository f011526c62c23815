package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// Kinds of what is held, each of which has a period of its own.
const (
	KindEvents  = "events"
	KindRollups = "rollups" // figures by day and by month
	KindLedger  = "ledger"
)

const (
	tableDaily = "daily"
	tableDays  = "days"
)

// kind is a table whose rows grow old.
type kind struct {
	table, partition, column string
	seconds                  bool // the column is a time, else a day
}

func kinds() map[string]kind {
	return map[string]kind{
		KindEvents:  {tableEvents, "toYYYYMM(day)", "day", false},
		KindRollups: {tableDaily, "toYYYYMM(day)", "day", false},
		KindLedger:  {tableLedger, "toYYYYMM(minute)", "minute", true},
	}
}

// dueOf is the condition of rows of a kind that are older than their site keeps.
func dueOf(kind string, cuts map[string]Cut) fragment {
	bySite := map[int64][]string{} // sites by cut: there are few
	for site, c := range cuts {
		at := int64(c.Events)
		switch kind {
		case KindRollups:
			at = int64(c.Rollups)
		case KindLedger:
			at = c.books()
		}
		bySite[at] = append(bySite[at], site)
	}
	var all []fragment
	for _, at := range slices.Sorted(maps.Keys(bySite)) {
		sites := slices.Sorted(slices.Values(bySite[at]))
		older := frag("toUInt32(minute) < ?", uint32(at))
		if kind != KindLedger {
			older = frag("day < toDate(?)", event.Day(at).String())
		}
		all = append(all, allOf(around("site IN ", listOf(sites), ""), older))
	}
	return anyOf(all...)
}

// Holding is what is held of a site in one table.
type Holding struct {
	Site, Kind string
	Oldest     event.Day // on the site's calendar
	Rows       uint64
	Due        uint64 // rows that are older than is kept
	DueBytes   uint64 // about what they take on disk: the part of their months that they are
}

// DiskUse is what a table takes on the database's disk, in bytes.
type DiskUse struct {
	Kind   string
	Live   uint64
	Leaves uint64 // of parts that were replaced or dropped: the server removes them after some minutes
}

// Holdings is what is held, and for how long it has been.
type Holdings struct {
	Lines []Holding // by kind and site
	Disk  []DiskUse // by kind
}

// Due is how many rows are older than is kept.
func (h *Holdings) Due() (n uint64) {
	for _, l := range h.Lines {
		n += l.Due
	}
	return n
}

// Live is what the tables take on disk, in bytes, without what the server is about to remove.
func (h *Holdings) Live() (n uint64) {
	for _, d := range h.Disk {
		n += d.Live
	}
	return n
}

// Leaves is what the server is about to remove, in bytes.
func (h *Holdings) Leaves() (n uint64) {
	for _, d := range h.Disk {
		n += d.Leaves
	}
	return n
}

// Holdings measures what is held, and what of it is older than cut says.
func (s *Store) Holdings(ctx context.Context, cut func(site string) Cut) (h Holdings, err error) {
	conn, err := s.conn(ctx)
	if err != nil {
		return h, err
	}
	r := s.builder(conn)
	r.long = true
	if h, err = s.holdings(ctx, r, cut); err != nil {
		return h, fmt.Errorf("store: measuring what is held: %w", err)
	}
	return h, nil
}

// partUse is rows and bytes of parts.
type partUse struct{ rows, bytes uint64 }

func (s *Store) holdings(ctx context.Context, r *reporter, cut func(site string) Cut) (h Holdings, err error) {
	parts, disk, err := r.parts(ctx)
	if err != nil {
		return h, err
	}
	h.Disk = disk
	for _, name := range slices.Sorted(maps.Keys(kinds())) {
		lines, err := r.held(ctx, name, cut, parts)
		if err != nil {
			return h, err
		}
		h.Lines = append(h.Lines, lines...)
	}
	return h, nil
}

// held measures one table.
func (r *reporter) held(ctx context.Context, name string, cut func(string) Cut, parts map[string]partUse) ([]Holding, error) {
	t := kinds()[name]
	cuts := map[string]Cut{}
	sites, err := r.query(ctx, "held_sites", map[string]any{"Table": t.table})
	if err != nil {
		return nil, err
	}
	defer sites.Close()
	for sites.Next() {
		var site string
		if err := sites.Scan(&site); err != nil {
			return nil, r.wrap("held_sites", err)
		}
		cuts[site] = cut(site).normal()
	}
	if err := sites.Err(); err != nil {
		return nil, r.wrap("held_sites", err)
	}
	rows, err := r.query(ctx, "held_months", map[string]any{
		"Table": t.table, "Partition": frag(t.partition), "Column": t.column, "Due": dueOf(name, cuts)})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	bySite := map[string]*Holding{}
	for rows.Next() {
		var site string
		var month, oldest uint32
		var due, n uint64
		if err := rows.Scan(&site, &month, &due, &n, &oldest); err != nil {
			return nil, r.wrap("held_months", err)
		}
		c, ok := cuts[site]
		if !ok { // its first row came since
			continue
		}
		day := event.Day(min(oldest, 65535))
		if t.seconds {
			day = event.DayOf(time.Unix(int64(oldest), 0).In(c.Zone))
		}
		h := bySite[site]
		if h == nil {
			h = &Holding{Site: site, Kind: name, Oldest: day}
			bySite[site] = h
		}
		h.Oldest = min(h.Oldest, day)
		h.Rows += n
		h.Due += due
		if p := parts[t.table+" "+strconv.Itoa(int(month))]; p.rows > 0 {
			h.DueBytes += uint64(float64(p.bytes) / float64(p.rows) * float64(due))
		}
	}
	if err := rows.Err(); err != nil {
		return nil, r.wrap("held_months", err)
	}
	var out []Holding
	for _, h := range bySite {
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b Holding) int { return strings.Compare(a.Site, b.Site) })
	return out, nil
}

// parts measures the tables on disk, their live parts also by month.
func (r *reporter) parts(ctx context.Context) (map[string]partUse, []DiskUse, error) {
	rows, err := r.query(ctx, "held_parts", nil)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	live := map[string]partUse{}
	use := map[string]*DiskUse{}
	for name, t := range kinds() {
		use[t.table] = &DiskUse{Kind: name}
	}
	for rows.Next() {
		var table, partition string
		var active uint8
		var p partUse
		if err := rows.Scan(&table, &partition, &active, &p.rows, &p.bytes); err != nil {
			return nil, nil, r.wrap("held_parts", err)
		}
		if use[table] == nil {
			continue
		}
		if active == 0 {
			use[table].Leaves += p.bytes
			continue
		}
		use[table].Live += p.bytes
		live[table+" "+partition] = p
	}
	var out []DiskUse
	for _, u := range use {
		out = append(out, *u)
	}
	slices.SortFunc(out, func(a, b DiskUse) int { return cmp.Compare(a.Kind, b.Kind) })
	return live, out, r.wrap("held_parts", rows.Err())
}

// dueMonths are the months of the partitions that hold rows that are due, earliest first.
func (r *reporter) dueMonths(ctx context.Context, kind string, due fragment) ([]uint32, error) {
	t := kinds()[kind]
	rows, err := r.query(ctx, "dispose_months", map[string]any{"Table": t.table, "Partition": frag(t.partition), "Due": due})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []uint32
	for rows.Next() {
		var m uint32
		if err := rows.Scan(&m); err != nil {
			return nil, r.wrap("dispose_months", err)
		}
		out = append(out, m)
	}
	return out, r.wrap("dispose_months", rows.Err())
}

// earliest is by site the time of the first event that is due, in Unix seconds.
func (r *reporter) earliest(ctx context.Context, due fragment) (map[string]int64, error) {
	rows, err := r.query(ctx, "dispose_earliest", map[string]any{"Due": due})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]int64{}
	for rows.Next() {
		var site string
		var at uint32
		if err := rows.Scan(&site, &at); err != nil {
			return nil, r.wrap("dispose_earliest", err)
		}
		out[site] = int64(at)
	}
	return out, r.wrap("dispose_earliest", rows.Err())
}

// inMonth counts the rows of a month that are due: by site those that can go, and those of batches that
// are on their way.
func (r *reporter) inMonth(ctx context.Context, which map[string]any) (sites map[string]uint64, goes, wait uint64, err error) {
	rows, err := r.query(ctx, "dispose_rows", which)
	if err != nil {
		return nil, 0, 0, err
	}
	defer rows.Close()
	sites = map[string]uint64{}
	for rows.Next() {
		var site string
		var n, all uint64
		if err := rows.Scan(&site, &n, &all); err != nil {
			return nil, 0, 0, r.wrap("dispose_rows", err)
		}
		goes, wait = goes+n, wait+all-n
		if n > 0 {
			sites[site] = n
		}
	}
	return sites, goes, wait, r.wrap("dispose_rows", rows.Err())
}

// daysIn are the days of a month that have events that are due.
func (r *reporter) daysIn(ctx context.Context, which map[string]any) ([]siteDay, error) {
	rows, err := r.query(ctx, "dispose_days", which)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []siteDay
	for rows.Next() {
		var d siteDay
		var day uint16
		if err := rows.Scan(&d.site, &day); err != nil {
			return nil, r.wrap("dispose_days", err)
		}
		d.day = event.Day(day)
		out = append(out, d)
	}
	return out, r.wrap("dispose_days", rows.Err())
}

// unbookedOf counts events of a day that are in the books' time and not on them as disposed, in the order of time.
func (r *reporter) unbookedOf(ctx context.Context, d siteDay, f floor, without any) ([]goneLine, error) {
	f.earliest = (d.day - min(d.day, 1)).Time().Unix() // whatever the zone is
	rows, err := r.query(ctx, "dispose_groups", map[string]any{
		"Site": d.site, "Day": d.day.String(), "Books": uint64(f.books), "Without": without, "Booked": f.booked(d.site), "Limit": uint64(eraseLines)})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []goneLine
	for rows.Next() {
		l := goneLine{site: d.site}
		var minute uint64
		if err := rows.Scan(&minute, &l.batch, &l.hits); err != nil {
			return nil, r.wrap("dispose_groups", err)
		}
		l.minute = int64(minute)
		out = append(out, l)
	}
	return out, r.wrap("dispose_groups", rows.Err())
}

// deleteAll deletes rows of a small table and waits until they are gone.
func (r *reporter) deleteAll(ctx context.Context, table string, which fragment) error {
	data := map[string]any{"Table": table, "Which": which}
	if err := r.waitUntilZero(ctx, "erase_busy", data); err != nil {
		return err
	}
	if n, err := r.number(ctx, "rows_left", data); err != nil || n == 0 {
		return err
	}
	if err := r.exec(ctx, "rows_delete", data); err != nil {
		return err
	}
	return r.waitUntilZero(ctx, "erase_busy", data)
}
