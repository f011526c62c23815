package main

import (
	"slices"
	"time"
)

// checkBooks compares the ledger, beside the program and without it, with the rows and with
// what the senders know. An attempt without an answer was received or not. A program whose disk is
// full keeps the count of what it refuses in memory, and takes it with it when it is killed:
// of its drops nothing is asked but that there are not too many.
func (v *victim) checkBooks(rows []soakRow, load *soakLoad) {
	v.t.Helper()
	for v.base() == "" {
		v.tick()
		time.Sleep(20 * time.Millisecond)
	}
	b := &load.books
	least, forgiven := b.counted, 0
	for base, n := range b.dropped {
		if v.cramped[base] {
			forgiven += n
		} else {
			least += n
		}
	}
	check := func(when string) {
		r, status := v.ledger()
		if status != 0 || !r.Balances {
			v.t.Errorf("%s the books do not balance: status %d, %+v", when, status, r.Total)
			for _, l := range r.Lines {
				v.t.Logf("%+v", l)
			}
		}
		if r.Total.Stored != uint64(len(rows)) || r.Total.Pending != 0 {
			v.t.Errorf("%s the ledger says %d stored and %d pending; there are %d rows", when, r.Total.Stored, r.Total.Pending, len(rows))
		}
		if got := int(r.Total.Received); got < least || got > b.attempts {
			v.t.Errorf("%s the ledger says %d received; the senders know of %d to %d", when, got, least, b.attempts)
		}
		for reason := range r.Total.Dropped {
			if !slices.Contains([]string{"duplicate", "full", "bot", "malformed"}, reason) {
				v.t.Errorf("%s hits are dropped as %q", when, reason)
			}
		}
		v.t.Logf("%s: %d received = %d stored + %v; the senders know of %d to %d (%d refused while a disk was full are not counted on)",
			when, r.Total.Received, r.Total.Stored, r.Total.Dropped, least, b.attempts, forgiven)
	}
	check("beside the program")
	v.stopProgram()
	check("without the program")
	v.keepRunning()
}
