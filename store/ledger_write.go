package store

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kantarainitiative/footfall/event"
)

// Outcomes in the ledger. All others are reasons why hits were not counted.
const (
	outcomeCounted = "counted" // hits that are events
	// Events that are not held any more, see Erase and Dispose; such rows have a ref.
	outcomeErased   = "erased"
	outcomeDisposed = "disposed"
)

// ledgerBlock is what a batch says of the hits of one month.
type ledgerBlock struct {
	batch uint64
	lines []event.Drop // in the order of the sort key, no two of the same site, minute, reason and masked page
}

// ledgerBlocks counts the hits of a batch, its events as well, earliest month first.
func ledgerBlocks(b *event.Batch) []block {
	sums := map[event.Drop]uint64{}
	var last event.Drop // most events are of the same minute and site as the one before
	var n uint64
	for i := range b.Events {
		d := event.Drop{Site: b.Events[i].Site, Minute: event.MinuteOf(b.Events[i].Time), Reason: outcomeCounted}
		if d != last {
			if n > 0 {
				sums[last] += n
			}
			last, n = d, 0
		}
		n++
	}
	if n > 0 {
		sums[last] += n
	}
	for _, d := range b.Drops {
		n := d.Count
		d.Count = 0
		d.Minute = event.MinuteOf(d.Minute * 60)
		sums[d] += n
	}
	lines := make([]event.Drop, 0, len(sums))
	for d, n := range sums {
		d.Count = n
		lines = append(lines, d)
	}
	slices.SortFunc(lines, func(a, b event.Drop) int {
		return cmp.Or(cmp.Compare(monthOf(a.Minute), monthOf(b.Minute)),
			strings.Compare(a.Site, b.Site), cmp.Compare(a.Minute, b.Minute), strings.Compare(a.Reason, b.Reason),
			cmp.Compare(a.Masked, b.Masked), strings.Compare(a.Page, b.Page))
	})
	var all []block
	for len(lines) > 0 {
		end := slices.IndexFunc(lines, func(d event.Drop) bool { return monthOf(d.Minute) != monthOf(lines[0].Minute) })
		if end < 0 {
			end = len(lines)
		}
		all = append(all, ledgerBlock{b.ID, lines[:end]})
		lines = lines[end:]
	}
	return all
}

func minuteTime(minute int64) time.Time { return time.Unix(minute*60, 0).UTC() }

func monthOf(minute int64) int { return event.DayOf(minuteTime(minute)).Month() }

func (b ledgerBlock) table() string { return tableLedger }
func (b ledgerBlock) month() int    { return monthOf(b.lines[0].Minute) }
func (b ledgerBlock) size() int     { return len(b.lines) }

func (b ledgerBlock) identity() string {
	return "concat(site, ' ', toString(toUInt32(minute)), ' ', outcome, ' ', toString(masked), ' ', page)"
}

func (b ledgerBlock) key(i int) string {
	d := &b.lines[i]
	return d.Site + " " + strconv.FormatInt(d.Minute*60, 10) + " " + d.Reason + " " + strconv.Itoa(int(d.Masked)) + " " + d.Page
}

func (b ledgerBlock) where() (string, []any) {
	sites := map[string]struct{}{}
	first, last := b.lines[0].Minute, b.lines[0].Minute
	for i := range b.lines {
		d := &b.lines[i]
		first, last = min(first, d.Minute), max(last, d.Minute)
		sites[d.Site] = struct{}{}
	}
	return ofSites(sites, "minute >= toDateTime(?) AND minute <= toDateTime(?) AND batch_id = ? AND ref = 0", uint32(first*60), uint32(last*60), b.batch)
}

// stamp is what rows of the ledger say of when they were written.
func (s *Store) stamp() time.Time {
	at := s.storedAt()
	if at.IsZero() {
		at = time.Unix(0, 0) // before every minute, so late for none
	}
	return at.UTC().Truncate(time.Second)
}

func (b ledgerBlock) appendTo(s *Store, to driver.Batch, keep []int) error {
	at := s.stamp()
	row := func(d *event.Drop) error {
		if err := to.Append(d.Site, minuteTime(d.Minute), d.Reason, d.Count, at, b.batch, uint64(0), uint16(d.Masked), d.Page); err != nil {
			return fmt.Errorf("%w: %w", errTable, err)
		}
		return nil
	}
	if keep == nil {
		for i := range b.lines {
			if err := row(&b.lines[i]); err != nil {
				return err
			}
		}
		return nil
	}
	for _, i := range keep {
		if err := row(&b.lines[i]); err != nil {
			return err
		}
	}
	return nil
}
