package event

import "time"

// Subject names the rows that one visitor id has at one site.
type Subject struct {
	Site        string
	Visitor     uint64 // never 0: rows without an id are nobody's
	First, Last Day    // inclusive, on the site's calendar
}

// KindCount is how many rows there are of a kind.
type KindCount struct {
	Kind Kind
	Rows uint64
}

// Held is what is kept that subjects still lead to.
type Held struct {
	Counts  []KindCount // of what is stored, by kind; kinds without rows are left out
	Visits  uint64
	Events  []Event // only with details: newest first, a bounded number
	More    bool    // there are events beyond those
	Pending uint64  // hits that were taken in and wait to be stored
}

// Rows is the sum of Counts.
func (h *Held) Rows() (n uint64) {
	for _, c := range h.Counts {
		n += c.Rows
	}
	return n
}

// Erasure is what became of an order to erase.
type Erasure struct {
	ID   uint64    // random; says nothing of whom it was about
	Rows uint64    // events erased so far
	Done bool      // nothing is left, as a read has shown; else it goes on by itself
	At   time.Time // when it was ordered
}
