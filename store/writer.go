package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/kantarainitiative/footfall/event"
)

// What a question about a block found (label of a metric).
const (
	foundStored = "stored"
	foundAbsent = "absent"
	foundPart   = "part"
)

// tellEvery is how often the log hears of one batch that waits for its database.
const tellEvery = time.Minute

// Write stores a batch and returns nil only when all of its events, and its lines of the
// ledger, are definitely in the database, each once. It tries until then or until ctx ends; the error is then ctx's,
// with the last failure's text, and whether the batch is stored is open: Write it again
// (in this process, or in the next one with Replayed set). The batch is not kept.
// Several batches may be written at once, the same one not.
func (s *Store) Write(ctx context.Context, b *event.Batch) error {
	if b.ID == 0 {
		return errors.New("store: a batch needs an id that is not zero")
	}
	if len(b.Events)+len(b.Drops) == 0 {
		return nil
	}
	if err := s.books.pass(ctx); err != nil { // whoever reads the books now reads them without this batch
		return fmt.Errorf("store: batch %016x is not begun: %w", b.ID, err)
	}
	ask := s.begin(b.ID) || b.Replayed
	b.Missing = 0
	for _, rows := range monthsOf(b.Events) {
		sortRows(b.Events, rows)
		if err := s.writeBlock(ctx, b, eventBlock{b, rows}, ask); err != nil {
			return err
		}
	}
	for _, rows := range ledgerBlocks(b) {
		if err := s.writeBlock(ctx, b, rows, ask); err != nil {
			return err
		}
	}
	if err := s.noteDays(ctx, b.Events); err != nil {
		return fmt.Errorf("store: batch %016x: %w", b.ID, err)
	}
	s.finish(b.ID)
	s.metrics.storedEvents.Add(float64(len(b.Events)))
	if s.onStored != nil {
		s.onStored(b)
	}
	return nil
}

// begin notes that the batch is being written and tells whether it was already, without
// coming to an end.
func (s *Store) begin(id uint64) (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, again = s.attempted[id]
	s.attempted[id] = struct{}{}
	return again
}

func (s *Store) finish(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.attempted, id)
}

// monthsOf returns the indexes of the events of each month, earliest month first. An
// insert makes one part per partition and only a part is atomic, so a block must not
// span months.
func monthsOf(events []event.Event) [][]int32 {
	byMonth := map[int][]int32{}
	var rows []int32 // of the month at hand
	month, day := -1, event.Day(0)
	for i := range events {
		if d := dayOf(&events[i]); d != day || month < 0 {
			day = d
			if m := d.Month(); m != month {
				if month >= 0 {
					byMonth[month] = rows
				}
				month, rows = m, byMonth[m]
				if rows == nil {
					rows = make([]int32, 0, len(events)-i)
				}
			}
		}
		rows = append(rows, int32(i))
	}
	if month >= 0 {
		byMonth[month] = rows
	}
	all := make([][]int32, 0, len(byMonth))
	for _, m := range slices.Sorted(maps.Keys(byMonth)) {
		all = append(all, byMonth[m])
	}
	return all
}

// block is rows of one batch and one month in one table: they become one part of it.
type block interface {
	table() string
	month() int
	size() int
	// where returns the condition that finds the rows, and its arguments.
	where() (string, []any)
	// identity is an expression in the table's columns, and key its value for row i: no two
	// rows of the batch have the same.
	identity() string
	key(i int) string
	// appendTo gives the client the rows' columns, those that keep tells to, in the order of
	// insertColumns.
	appendTo(s *Store, to driver.Batch, keep []int) error
}

// pending is a block on its way into the database.
type pending struct {
	batch *event.Batch
	block block
	rows  []int  // indexes of those to send, of a block that is there in part; nil: all
	ask   bool   // the database may hold the block already: ask before sending
	token int    // part of the deduplication token, see confirm
	query string // id of the last insert

	missing int    // rows that were not there when it was first asked
	waived  uint64 // rows that are not there, were not erased by what is known, and are not stored again
}

// toSend is how many rows the next insert has.
func (p *pending) toSend() int {
	if p.rows != nil {
		return len(p.rows)
	}
	return p.block.size()
}

// writeBlock stores one block.
func (s *Store) writeBlock(ctx context.Context, b *event.Batch, rows block, ask bool) error {
	p := &pending{batch: b, block: rows, ask: ask, missing: rows.size()}
	var last error
	var told time.Time // when the log last heard of it
	for failures := 0; ; failures++ {
		comesBack := s.comesBack() // taken before, so that it cannot be missed
		reason, err := s.attempt(ctx, p)
		if err == nil {
			if rows.table() == tableEvents {
				b.Missing += p.missing
			}
			return nil
		}
		if ctx.Err() != nil {
			if last == nil { // else err says no more than that ctx has ended
				last = err
			}
			return fmt.Errorf("store: batch %016x is not definitely stored: %w (last: %v)", b.ID, ctx.Err(), last)
		}
		last = err
		s.metrics.retries.WithLabelValues(reason).Inc()
		wait := s.backoff(failures)
		if reason == retryRefused {
			s.log.Error("the database refuses a batch; it is kept and tried again",
				"batch", fmt.Sprintf("%016x", b.ID), "table", p.block.table(), "rows", p.toSend(), "attempt", failures+1, "error", err)
			wait = s.retryMax
		} else if time.Since(told) > tellEvery { // an outage of hours is no news each second
			told = time.Now()
			s.log.Warn("storing a batch failed; it is tried again",
				"batch", fmt.Sprintf("%016x", b.ID), "table", p.block.table(), "rows", p.toSend(), "attempt", failures+1, "reason", reason, "error", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-comesBack: // no need to wait longer
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// backoff returns a random part of a time that doubles with each failure ("full
// jitter"), so that many writers do not come back all at once.
func (s *Store) backoff(failures int) time.Duration {
	longest := s.retryMax
	if f := math.Ldexp(float64(s.retryMin), failures); f < float64(longest) {
		longest = time.Duration(f)
	}
	return rand.N(longest) + 1
}

// attempt tries once. A nil error is a definite answer; otherwise it says why.
func (s *Store) attempt(ctx context.Context, p *pending) (reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.insertTimeout)
	defer cancel()
	ready, err := s.ready(ctx)
	if err != nil {
		return classify(err, retryUnreachable), err
	}
	if p.ask {
		stored, err := s.ask(ctx, p)
		if err != nil {
			return s.failed(err, retryUnanswered), err
		}
		if stored {
			return "", nil
		}
		p.ask = false
	}
	sent, err := s.insert(ctx, ready, p)
	if err != nil {
		if !sent {
			return s.failed(err, retryUnreachable), err
		}
		p.ask = true
		return s.failed(err, retryUnanswered), err
	}
	s.note(nil)
	if err := s.confirm(ctx, p); err != nil {
		return s.failed(err, retryUnanswered), err
	}
	return "", nil
}

// failed records a failed call and names the reason of the next attempt.
func (s *Store) failed(err error, reason string) string {
	if isException(err, codeUnknownTable, codeUnknownDatabase) {
		s.unprepare() // make the tables again
	}
	var exception *clickhouse.Exception
	if !errors.As(err, &exception) && !errors.Is(err, errTable) { // an exception is an answer: the server is there
		s.note(err)
	}
	return classify(err, reason)
}

func classify(err error, reason string) string {
	if isPermanent(err) {
		return retryRefused
	}
	return reason
}

// insert sends the block. sent tells whether any of it can have reached a table: until
// the server has answered the statement with the table's columns, the client holds
// back the rows. (An HTTP request carries both, so there it counts as sent.)
func (s *Store) insert(ctx context.Context, ready *prepared, p *pending) (sent bool, err error) {
	start := time.Now()
	p.query = fmt.Sprintf("%s%016x", queryPrefix(p.batch.ID), rand.Uint64())
	ctx = clickhouse.Context(ctx,
		clickhouse.WithQueryID(p.query),
		clickhouse.WithSettings(ready.caps.insertSettings(p)),
		clickhouse.WithColumnNamesAndTypes(ready.columns[p.block.table()]))
	batch, err := s.writer.PrepareBatch(ctx, insertStatement(p.block.table()))
	if err != nil {
		return false, err
	}
	if err := p.block.appendTo(s, batch, p.rows); err != nil {
		batch.Abort()
		return false, err
	}
	if err := batch.Send(); err != nil {
		return true, err
	}
	s.metrics.insertSeconds.Observe(time.Since(start).Seconds())
	return true, nil
}

func insertStatement(table string) string {
	return "INSERT INTO " + table + " (" + strings.Join(insertColumns()[table], ", ") + ")"
}

// eventBlock is the events of one month.
type eventBlock struct {
	batch *event.Batch
	rows  []int32 // indexes into batch.Events
}

func (b eventBlock) table() string    { return tableEvents }
func (b eventBlock) month() int       { return dayOf(&b.batch.Events[b.rows[0]]).Month() }
func (b eventBlock) size() int        { return len(b.rows) }
func (b eventBlock) identity() string { return "toString(event_id)" }
func (b eventBlock) key(i int) string {
	return strconv.FormatUint(b.batch.Events[b.rows[i]].ID, 10)
}

// minute is that of row i, as the ledger has it.
func (b eventBlock) minute(i int) siteMinute {
	e := &b.batch.Events[b.rows[i]]
	return siteMinute{e.Site, event.MinuteOf(e.Time)}
}

func (b eventBlock) appendTo(s *Store, to driver.Batch, keep []int) error {
	rows := b.rows
	if keep != nil {
		rows = make([]int32, len(keep))
		for i, k := range keep {
			rows[i] = b.rows[k]
		}
	}
	e := s.encoders.Get().(*encoder)
	defer s.encoders.Put(e)
	return e.appendTo(to, b.batch, rows)
}

func (b eventBlock) where() (string, []any) {
	first, last := event.Day(math.MaxUint16), event.Day(0)
	sites := map[string]struct{}{}
	for _, r := range b.rows {
		e := &b.batch.Events[r]
		first, last = min(first, dayOf(e)), max(last, dayOf(e))
		sites[e.Site] = struct{}{}
	}
	return ofSites(sites, "day >= toDate(?) AND day <= toDate(?) AND batch_id = ?", uint16(first), uint16(last), b.batch.ID)
}

const maxSitesInQuestion = 200

// ofSites adds to a condition that the site is one of those, where they are few.
func ofSites(sites map[string]struct{}, condition string, args ...any) (string, []any) {
	if len(sites) > maxSitesInQuestion {
		return condition, args
	}
	var names []any
	for s := range sites {
		names = append(names, s)
	}
	return "site IN ? AND " + condition, append([]any{clickhouse.GroupSet{Value: names}}, args...)
}

// queryPrefix begins the id of each query that inserts rows of a batch, also in an
// earlier process.
func queryPrefix(batch uint64) string { return fmt.Sprintf("footfall-insert-%016x-", batch) }

// insertSettings returns the settings of an insert. The block must become one part: the
// server must neither queue nor split it.
func (c capabilities) insertSettings(p *pending) clickhouse.Settings {
	settings := clickhouse.Settings{
		"max_insert_block_size": max(p.toSend(), 1<<20),
	}
	if c.asyncInserts {
		settings["async_insert"] = 0
	}
	if c.deduplication {
		settings["insert_deduplication_token"] = fmt.Sprintf("%016x-%d-%d", p.batch.ID, p.block.month(), p.token)
	}
	return settings
}
