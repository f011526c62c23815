package fake

import (
	"context"
	"time"

	"github.com/kantarainitiative/footfall/store"
)

// Books is a ledger with an outage, a full disk and hits of every fate in it, which balances
// unless Off. It is the same for the same clock.
type Books struct {
	Now   func() time.Time
	Off   bool
	Empty bool
	Err   error
}

// Ledger has a line for each quarter of an hour up to now.
func (b *Books) Ledger(_ context.Context, q store.LedgerQuery) ([]store.LedgerLine, error) {
	if b.Err != nil {
		return nil, b.Err
	}
	var out []store.LedgerLine
	now := b.Now()
	for at := q.From; at.Before(q.To) && !at.After(now) && !b.Empty; at = at.Add(15 * time.Minute) {
		hour := uint64(at.UTC().Hour())
		l := store.LedgerLine{Site: q.Site, Start: at.UTC(), Stored: 20 + 9*hour, Dropped: map[string]uint64{"bot": 4 + hour/4}}
		l.Dropped["dnt"] = hour % 3
		l.Dropped["duplicate"] = hour / 20
		l.Dropped["prefetch"] = hour / 12
		if at.Equal(b.night()) {
			l.Dropped["full"] = 12
		}
		if now.Sub(at) < 15*time.Minute {
			l.Pending = 2
		}
		l.Received = l.Stored + l.NotCounted() + l.Pending
		if b.Off && at.Equal(b.night()) {
			l.Received += 3
		}
		out = append(out, l)
	}
	return out, nil
}

// night is the beginning of two days ago, in UTC.
func (b *Books) night() time.Time { return b.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -2) }

// Outages has two.
func (b *Books) Outages(_ context.Context, _ string, from, to time.Time) (out []store.Outage, err error) {
	if b.Err != nil || b.Empty {
		return nil, b.Err
	}
	n := b.night()
	for _, o := range []store.Outage{
		{From: n.AddDate(0, 0, -2).Add(13*time.Hour + 2*time.Minute), To: n.AddDate(0, 0, -2).Add(15*time.Hour + 40*time.Minute), Hits: 2871, Stored: n.AddDate(0, 0, -2).Add(15*time.Hour + 41*time.Minute)},
		{From: n.Add(3 * time.Hour), To: n.Add(3*time.Hour + time.Minute), Hits: 1, Stored: n.Add(3*time.Hour + 4*time.Minute)},
	} {
		if !o.From.Before(from) && o.From.Before(to) {
			out = append(out, o)
		}
	}
	return out, nil
}

// MaskedPages has one page of each sort.
func (b *Books) MaskedPages(_ context.Context, q store.LedgerQuery) ([]store.MaskedPage, error) {
	if b.Err != nil || b.Empty {
		return nil, b.Err
	}
	return []store.MaskedPage{
		{Site: q.Site, Kind: "email", Page: "/welcome/(email)", Masked: 312},
		{Site: q.Site, Kind: "token", Page: "/reset/(token)", Masked: 41, Dropped: 1},
		{Site: q.Site, Kind: "phone", Page: "/contact", Masked: 2},
		{Site: q.Site, Kind: "email", Page: "(other)", Dropped: 9},
	}, nil
}

// Spool holds a little.
func (b *Books) Spool() (bytes, limit int64, oldest time.Time) {
	return 1100, 4 << 30, b.Now().Add(-time.Second)
}
