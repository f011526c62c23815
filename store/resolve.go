package store

import (
	"context"
	"fmt"
	"time"
)

// ask finds out whether the database holds the block: first that no query is still at
// work on the batch, then how many of its rows there are.
func (s *Store) ask(ctx context.Context, p *pending) (stored bool, err error) {
	if err := s.waitForQueries(ctx, p); err != nil {
		return false, err
	}
	n, gone, err := s.count(ctx, p)
	if err != nil {
		return false, err
	}
	s.note(nil)
	if p.query == "" { // nothing of this process can be among them
		p.missing = max(p.block.size()-int(n+gone.hits), 0)
	}
	switch {
	case n+gone.hits == 0:
		p.rows = nil
		s.metrics.ambiguous.WithLabelValues(foundAbsent).Inc()
		return false, nil
	case n+gone.hits >= uint64(p.block.size()):
		s.metrics.ambiguous.WithLabelValues(foundStored).Inc()
		if p.block.table() == tableEvents && n > uint64(p.block.size()) { // a segment without what was erased has fewer lines for the ledger
			s.log.Error("a batch has more rows in the database than were to be stored",
				"batch", fmt.Sprintf("%016x", p.batch.ID), "table", p.block.table(), "rows", n, "want", p.block.size())
		}
		return true, nil
	}
	s.metrics.ambiguous.WithLabelValues(foundPart).Inc()
	if err := s.keepMissing(ctx, p, n, gone); err != nil {
		return false, err
	}
	return p.toSend() == 0, nil
}

// confirm makes sure of a success: the rows can be read. Two kinds of success are none. A server
// that is killed between remembering a deduplication token and committing its part refuses the
// token afterwards with "already there", though nothing is; the next attempt then uses another.
// And where the disk fills up during an insert, the newest servers can confirm a part all files
// of which are empty: counting its rows is an error until the next start drops the part.
func (s *Store) confirm(ctx context.Context, p *pending) error {
	n, gone, err := s.count(ctx, p)
	if err != nil {
		p.ask = true
		return err
	}
	if n+gone.hits+p.waived < uint64(p.block.size()) {
		p.token++
		p.ask = true
		return fmt.Errorf("store: the database confirmed batch %016x and holds %d of %d rows in %s", p.batch.ID, n, p.block.size(), p.block.table())
	}
	return nil
}

// keepMissing leaves only the rows in p that the database does not hold. It is not
// expected to happen: a part is atomic, and a block is one part. Of a minute of which rows
// were erased nobody knows any more which: none of it is stored again.
func (s *Store) keepMissing(ctx context.Context, p *pending, n uint64, gone erasedRows) error {
	s.log.Error("the database holds a part of a batch; its missing rows are stored now",
		"batch", fmt.Sprintf("%016x", p.batch.ID), "table", p.block.table(), "rows", n, "erased", gone.hits, "want", p.block.size())
	condition, args := p.block.where()
	rows, err := s.writer.Query(ctx, "SELECT "+p.block.identity()+" FROM "+p.block.table()+" WHERE "+condition, args...)
	if err != nil {
		return fmt.Errorf("store: looking for the rows of a batch: %w", err)
	}
	defer rows.Close()
	present := map[string]int{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return fmt.Errorf("store: looking for the rows of a batch: %w", err)
		}
		present[id]++
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("store: looking for the rows of a batch: %w", err)
	}
	missing := []int{} // not nil
	p.waived = 0
	for i := range p.block.size() {
		if id := p.block.key(i); present[id] > 0 {
			present[id]--
		} else if gone.touch(p.block, i) {
			p.waived++
		} else {
			missing = append(missing, i)
		}
	}
	p.waived -= min(p.waived, gone.hits)
	p.rows = missing
	p.token++ // the rows of the earlier token are others
	return nil
}

// count returns how many rows of the batch the block's table holds among the times and sites
// of the block, and where that is not all, which were erased. Partitions and sort key begin with them, so few granules are read.
func (s *Store) count(ctx context.Context, p *pending) (n uint64, gone erasedRows, err error) {
	condition, args := p.block.where()
	err = s.writer.QueryRow(ctx, "SELECT count() FROM "+p.block.table()+" WHERE "+condition, args...).Scan(&n)
	if err != nil {
		return 0, gone, fmt.Errorf("store: looking for the rows of a batch: %w", err)
	}
	if events, ok := p.block.(eventBlock); ok && n < uint64(events.size()) {
		gone, err = s.erasedOf(ctx, events)
	}
	return n, gone, err
}

// siteMinute names the events of a site and minute. Of one batch they are all of one day, and so
// in one block.
type siteMinute struct {
	site   string
	minute int64
}

// erasedRows is how many rows of a block were stored, and erased on order. The zero value is none.
type erasedRows struct {
	hits uint64
	of   map[siteMinute]uint64
}

// touch tells whether rows were erased that may be the block's row i.
func (g erasedRows) touch(b block, i int) bool {
	events, ok := b.(eventBlock)
	return ok && g.of[events.minute(i)] > 0
}

// erasedOf asks the ledger which rows of a block were erased. They are on it before they are deleted, so
// for a while they are in events as well.
func (s *Store) erasedOf(ctx context.Context, b eventBlock) (erasedRows, error) {
	gone := erasedRows{of: map[siteMinute]uint64{}}
	sites, minutes := map[string]struct{}{}, map[siteMinute]struct{}{}
	first := b.minute(0).minute
	last := first
	for i := range b.size() {
		m := b.minute(i)
		first, last = min(first, m.minute), max(last, m.minute)
		sites[m.site], minutes[m] = struct{}{}, struct{}{}
	}
	condition, args := ofSites(sites, "minute >= toDateTime(?) AND minute <= toDateTime(?) AND batch_id = ? AND ref != 0",
		uint32(first*60), uint32(last*60), b.batch.ID)
	rows, err := s.writer.Query(ctx, "SELECT toString(site), toInt64(intDiv(toUInt32(minute), 60)), hits FROM ledger WHERE "+condition, args...)
	if err != nil {
		return gone, fmt.Errorf("store: looking for erased rows of a batch: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var m siteMinute
		var n uint64
		if err := rows.Scan(&m.site, &m.minute, &n); err != nil {
			return gone, fmt.Errorf("store: looking for erased rows of a batch: %w", err)
		}
		if _, ok := minutes[m]; ok {
			gone.of[m] += n
			gone.hits += n
		}
	}
	if err := rows.Err(); err != nil {
		return gone, fmt.Errorf("store: looking for erased rows of a batch: %w", err)
	}
	return gone, nil
}

// waitForQueries returns when no query that inserts rows of the batch runs any more:
// neither one of this process nor one that an earlier process left behind. It asks the
// server to kill them, and one that may not be killed is waited for.
func (s *Store) waitForQueries(ctx context.Context, p *pending) error {
	// The ids hold nothing that needs quoting. The last one is named in full because the
	// engine knows queries by other ids and translates only whole ones; what an earlier
	// process left behind died with its engine.
	return s.waitForQueriesLike(ctx, fmt.Sprintf("query_id = '%s' OR query_id LIKE '%s%%'", p.query, queryPrefix(p.batch.ID)))
}

func (s *Store) waitForQueriesLike(ctx context.Context, condition string) error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var n uint64
		err := s.writer.QueryRow(ctx, "SELECT count() FROM system.processes WHERE "+condition).Scan(&n)
		if err != nil {
			return fmt.Errorf("store: looking for a running insert: %w", err)
		}
		if n == 0 {
			return nil
		}
		err = s.writer.Exec(ctx, "KILL QUERY WHERE "+condition+" ASYNC")
		if err != nil && !isException(err, codeNotEnoughRights) {
			return fmt.Errorf("store: ending a running insert: %w", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("store: an earlier insert of the batch still runs: %w", ctx.Err())
		}
	}
}
