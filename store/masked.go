package store

import (
	"context"
	"fmt"

	"github.com/kantarainitiative/footfall/event"
)

// MaskedPage says how often personal data of a kind was found in what a page sent.
type MaskedPage struct {
	Site string
	Kind string // a name of [event.Masked.Kinds]
	Page string // with masks in place of personal data
	// Hits that were stored without it, and hits that were dropped for it.
	Masked, Dropped uint64
}

// maxMaskedPages bounds the answer of MaskedPages.
const maxMaskedPages = 500

// MaskedPages returns where personal data was found in a period, most hits first, 500 pages and kinds at
// most. q.Step is of no account; hits on their way into the database are not in it yet.
func (s *Store) MaskedPages(ctx context.Context, q LedgerQuery) ([]MaskedPage, error) {
	conn, err := s.conn(ctx)
	if err != nil {
		return nil, err
	}
	r := s.reporter(conn)
	from, to, err := r.span(ctx, q.From, q.To)
	if err != nil {
		return nil, err
	}
	erasures, err := s.erasures.atRest(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: reading what was masked: %w", err)
	}
	rows, err := r.query(ctx, "masked", map[string]any{"Site": q.Site, "From": from, "To": to, "Days": daysAround(from, to),
		"Erased": erasures.fragment(), "Limit": uint64(maxMaskedPages)})
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []MaskedPage
	for rows.Next() {
		var p MaskedPage
		var bit uint8
		if err := rows.Scan(&p.Site, &p.Page, &bit, &p.Masked, &p.Dropped); err != nil {
			return nil, fmt.Errorf("store: reading what was masked: %w", err)
		}
		for _, p.Kind = range event.Masked(bit).Kinds() {
			out = append(out, p)
		}
	}
	return out, rows.Err()
}
