package store

import (
	"context"
	"fmt"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// Oldest says from when the oldest row is that a table has of a site.
type Oldest struct {
	Table string // "events", "ledger", "rollups", "list of days"
	Site  string
	Time  time.Time
}

// Survey is what a site's rows have in them that privacy rules speak of.
type Survey struct {
	Revenue   uint64   // rows with revenue
	Campaigns uint64   // rows with campaign tags or the name of a click parameter
	Network   int      // most bits of a stored IPv4 network, 0 for none
	Props     []string // names of properties, 1,000 at most
	Texts     []string // addresses, titles, referrers and values of properties, the commonest 20,000
}

const (
	surveyProps = 1000
	surveyTexts = 20_000
)

// OldestRows returns the oldest row of each table by site, the oldest first; sites that are not configured
// any more are among them.
func (s *Store) OldestRows(ctx context.Context) ([]Oldest, error) {
	conn, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := s.reporter(conn).query(ctx, "survey_oldest", nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Oldest
	for rows.Next() {
		var o Oldest
		var at uint32
		if err := rows.Scan(&o.Table, &o.Site, &at); err != nil {
			return nil, fmt.Errorf("store: reading what is oldest: %w", err)
		}
		o.Time = time.Unix(int64(at), 0).UTC()
		out = append(out, o)
	}
	return out, rows.Err()
}

// EventColumns returns the columns that the table of events has in the database.
func (s *Store) EventColumns(ctx context.Context) (out []string, err error) {
	conn, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = 'events'")
	if err != nil {
		return nil, fmt.Errorf("store: reading the columns: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("store: reading the columns: %w", err)
		}
		out = append(out, name)
	}
	return out, rows.Err()
}

// Survey looks at a site's rows of the days from first to last, both included, and at the texts among them
// of those from texts on.
func (s *Store) Survey(ctx context.Context, site string, first, texts, last event.Day) (*Survey, error) {
	conn, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	r := s.reporter(conn)
	r.unlogged = true
	out := &Survey{}
	strings := func(name string, from event.Day, limit uint64, withCount bool) (list []string, err error) {
		rows, err := r.query(ctx, name, map[string]any{"Site": site, "Days": daysIn([]dayRange{{from, last}}), "Limit": limit})
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			var n uint64
			to := []any{&text}
			if withCount {
				to = append(to, &n)
			}
			if err := rows.Scan(to...); err != nil {
				return nil, fmt.Errorf("store: a survey: %w", err)
			}
			list = append(list, text)
		}
		return list, rows.Err()
	}
	if out.Props, err = strings("survey_props", first, surveyProps, false); err != nil {
		return nil, err
	}
	if out.Texts, err = strings("survey_texts", texts, surveyTexts, true); err != nil {
		return nil, err
	}
	rows, err := r.query(ctx, "survey_counts", map[string]any{"Site": site, "Days": daysIn([]dayRange{{first, last}})})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var bits uint64
		if err := rows.Scan(&out.Revenue, &out.Campaigns, &bits); err != nil {
			return nil, fmt.Errorf("store: a survey: %w", err)
		}
		out.Network = int(bits)
	}
	return out, rows.Err()
}
