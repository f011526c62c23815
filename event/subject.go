package event

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

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

// orderBits are the low bits of an order's id, which are 0: the store numbers its steps by them.
const orderBits = 16

// MaxSubjects bounds the subjects of an order.
const MaxSubjects = 128

// Order is an order to erase what was received of its subjects up to the end of a second.
type Order struct {
	ID       uint64 // random, a multiple of 1<<16, not 0
	At       int64  // Unix seconds
	Subjects []Subject
}

// NewOrder returns an order with an id of its own.
func NewOrder(at time.Time, subjects []Subject) Order {
	o := Order{At: at.Unix(), Subjects: subjects}
	for o.ID == 0 {
		o.ID = rand.Uint64() &^ (1<<orderBits - 1)
	}
	return o
}

// Last is the last number that belongs to the order: those from ID to it do.
func (o *Order) Last() uint64 { return o.ID | (1<<orderBits - 1) }

// Check tells what is wrong with an order.
func (o *Order) Check() error {
	if o.ID == 0 || o.ID != o.ID&^(1<<orderBits-1) {
		return errors.New("event: an order to erase has no usable id")
	}
	return CheckSubjects(o.Subjects)
}

// CheckSubjects tells what is wrong with subjects. There must be one at least.
func CheckSubjects(subjects []Subject) error {
	if len(subjects) == 0 || len(subjects) > MaxSubjects {
		return fmt.Errorf("event: %d subjects: want 1 to %d", len(subjects), MaxSubjects)
	}
	for _, s := range subjects {
		if s.Visitor == 0 || s.Site == "" {
			return errors.New("event: a subject is without site or id: such rows are nobody's")
		}
	}
	return nil
}

// Covers tells whether the order takes e.
func (o *Order) Covers(e *Event) bool {
	if e.Time > o.At {
		return false
	}
	for i := range o.Subjects {
		if o.Subjects[i].Covers(e) {
			return true
		}
	}
	return false
}

// Covers tells whether e is of the subject.
func (s *Subject) Covers(e *Event) bool {
	return s.Visitor != 0 && e.VisitorID == s.Visitor && e.Site == s.Site && e.Day >= s.First && e.Day <= s.Last
}
