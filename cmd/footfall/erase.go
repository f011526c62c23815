package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/policy"
	"github.com/kantarainitiative/footfall/store"
)

const (
	eraseAnswer = 8 * time.Second  // what Erase waits for, beyond its context
	eraseTry    = 30 * time.Minute // one try at one order
	eraseRetry  = time.Minute      // the longest wait for the next
	// inFlight is more than a request takes from when its time is noted to when its hit is in
	// the spool.
	inFlight = time.Second

	ordersDir = "erasures" // in the data directory

	maxOrders   = 1000 // that wait
	maxSubjects = 1000 // of all of them
)

// errTooManyOrders is returned while others wait.
var errTooManyOrders = errors.New("too many orders to erase wait; try again later")

// orderName names an order in logs: its number is random.
func orderName(id uint64) string { return fmt.Sprintf("%016x", id) }

// records are what is held of visitors, and erase it. An order is carried out in this order:
//
//   - it is written to disk, and the visitors' visits are forgotten; from here on nothing
//     that is killed keeps it from being carried out;
//   - when the second of the order is over for every request, all that the spool holds is stored, and what it
//     keeps of stored segments is written anew without the visitors' hits;
//   - the store erases and looks that nothing is left. Then the order on disk loses the visitors' ids;
//   - rollups are made again, and those before them deleted when no report reads them any more.
//
// What came later than the second of the order, with the same id, is not touched.
type records struct {
	recordsOptions
	book orderBook

	mu     sync.Mutex
	orders []*order

	ordered, gone chan struct{} // there may be something for carryOut, for tidy
}

// recordsOptions are the parts that records use.
type recordsOptions struct {
	spool   *spool.Spool
	store   *store.Store
	forget  func(site string, visitor uint64)
	zone    func(site string) *time.Location
	now     func() time.Time
	log     *slog.Logger
	note    func(action string, pairs ...string) // in the audit log
	readers time.Duration                        // how long a report may be read that began before; 0: nobody else reads
	grace   time.Duration                        // inFlight, or 0 where no request can be under way
}

// order is one that is not done with.
type order struct {
	event.Order
	taken  time.Time          // when it came, by the machine's clock; zero: in an earlier process
	result chan event.Erasure // has room for one: the rows are gone
	gone   bool               // the rows are; only rollups are to be tidied
}

// newRecords takes over the orders of an earlier process; the store leaves what they take out of its books. Nothing is
// carried out before run.
func newRecords(dir string, o recordsOptions) (*records, error) {
	r := &records{recordsOptions: o, book: orderBook{dir}, ordered: make(chan struct{}, 1), gone: make(chan struct{}, 1)}
	orders, err := r.book.read()
	if err != nil {
		return nil, fmt.Errorf("orders to erase: %w", err)
	}
	for _, o := range orders {
		w := &order{Order: o, result: make(chan event.Erasure, 1), gone: len(o.Subjects) == 0}
		if !w.gone {
			if err := o.Check(); err != nil {
				return nil, fmt.Errorf("orders to erase: %s: %w", r.book.path(o.ID), err)
			}
			r.store.AnnounceErasure(o)
		}
		r.orders = append(r.orders, w)
	}
	if len(orders) > 0 {
		r.log.Info("orders to erase are carried on", "orders", len(orders))
	}
	return r, nil
}

// announceOrders makes the books right for a process that carries out no order.
func announceOrders(c *Config, st *store.Store) error {
	orders, err := orderBook{c.path(ordersDir)}.read()
	for _, o := range orders {
		if len(o.Subjects) > 0 {
			st.AnnounceErasure(o)
		}
	}
	return err
}

// covers tells whether e is about to be erased.
func (r *records) covers(e *event.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.orders, func(o *order) bool { return o.Covers(e) })
}

// Held tells what is held of the subjects, in the store and in the spool. A hit that is being
// stored at that moment may be in both numbers.
func (r *records) Held(ctx context.Context, of []event.Subject, details bool) (event.Held, error) {
	if err := r.store.Ping(ctx); err != nil { // before the spool is read for nothing
		return event.Held{}, err
	}
	var waits uint64
	err := r.spool.Pending(func(e *event.Event) error {
		if slices.ContainsFunc(of, func(s event.Subject) bool { return s.Covers(e) }) {
			waits++
		}
		return ctx.Err()
	})
	if err != nil {
		return event.Held{}, err
	}
	h, err := r.store.Held(ctx, of, details)
	h.Pending = waits
	return h, err
}

// Erase orders that everything be erased that has come of the subjects up to now. Once it returns without an error
// that is going to happen, whatever is killed. Done says that it has happened; where it
// has not in some seconds, because the database is down for instance, it goes on without the caller.
func (r *records) Erase(ctx context.Context, of []event.Subject) (event.Erasure, error) {
	if err := event.CheckSubjects(of); err != nil {
		return event.Erasure{}, err
	}
	at := r.now()
	o := &order{Order: event.NewOrder(at, slices.Clone(of)), taken: time.Now(), result: make(chan event.Erasure, 1)}
	r.mu.Lock()
	n := len(of)
	for _, w := range r.orders {
		n += len(w.Subjects)
	}
	if len(r.orders) >= maxOrders || n > maxSubjects {
		r.mu.Unlock()
		return event.Erasure{}, errTooManyOrders
	}
	r.orders = append(r.orders, o) // before its visits are forgotten: nothing may restore them
	r.mu.Unlock()
	if err := r.book.put(&o.Order); err != nil {
		r.end(o)
		return event.Erasure{}, fmt.Errorf("an order to erase cannot be kept: %w", err)
	}
	r.forgetVisits(&o.Order)
	r.log.Info("an order to erase came in", "order", orderName(o.ID), "subjects", len(of))
	wakeUp(r.ordered)
	t := time.NewTimer(eraseAnswer)
	defer t.Stop()
	select {
	case e := <-o.result:
		return e, nil
	case <-t.C:
	case <-ctx.Done():
	}
	return event.Erasure{ID: o.ID, At: at}, nil
}

func (r *records) forgetVisits(o *event.Order) {
	for _, s := range o.Subjects {
		r.forget(s.Site, s.Visitor)
	}
}

func (r *records) end(o *order) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.orders = slices.DeleteFunc(r.orders, func(w *order) bool { return w == o })
}

// wakeUp wakes whoever waits on c, at once or when it next waits.
func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run carries out orders until ctx ends. Rollups are tidied beside that: it takes long, and nobody waits for it.
func (r *records) run(ctx context.Context) {
	var tidying sync.WaitGroup
	defer tidying.Wait()
	tidying.Go(func() { r.repeat(ctx, r.gone, r.tidy) })
	r.repeat(ctx, r.ordered, r.carryOutAll)
}

// repeat calls do at once, whenever it is woken, and again after an error.
func (r *records) repeat(ctx context.Context, wake <-chan struct{}, do func(context.Context) error) {
	wait := time.Second
	for {
		try, cancel := context.WithTimeout(ctx, eraseTry)
		err := do(try)
		cancel()
		again := time.NewTimer(wait)
		if err != nil && ctx.Err() == nil {
			r.log.Warn("an order to erase is not carried out yet; it is tried again", "wait", wait, "error", err)
			wait = min(2*wait, eraseRetry)
		} else {
			again.Stop()
			wait = time.Second
		}
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-wake:
		case <-again.C:
		}
		again.Stop()
	}
}

func (r *records) carryOutAll(ctx context.Context) error {
	for o := r.next(); o != nil; o = r.next() {
		if err := r.carryOut(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// settled waits until nothing is left to do.
func (r *records) settled(ctx context.Context) {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		r.mu.Lock()
		n := len(r.orders)
		r.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *records) next() *order {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.orders {
		if !o.gone {
			return o
		}
	}
	return nil
}

// carryOut makes an order's rows go.
func (r *records) carryOut(ctx context.Context, o *order) error {
	t := time.NewTimer(time.Until(o.taken.Add(r.grace))) // those that waited for others have waited
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := r.spool.Flush(ctx); err != nil {
		return err
	}
	if _, err := r.spool.Purge(ctx, o.Covers); err != nil {
		return err
	}
	rows, err := r.store.Erase(ctx, o.Order)
	if err != nil {
		return err
	}
	if err := r.book.put(&event.Order{ID: o.ID, At: o.At}); err != nil {
		return err
	}
	r.forgetVisits(&o.Order)
	r.mu.Lock()
	o.gone, o.Subjects = true, nil
	r.mu.Unlock()
	o.result <- event.Erasure{ID: o.ID, Rows: rows, Done: true, At: time.Unix(o.At, 0)}
	wakeUp(r.gone)
	r.note(policy.AuditErasure, "order", orderName(o.ID), "rows", strconv.FormatUint(rows, 10))
	r.log.Info("an order to erase is carried out", "order", orderName(o.ID), "rows", rows)
	return nil
}

// tidy ends the orders whose rows are gone.
func (r *records) tidy(ctx context.Context) error {
	r.mu.Lock()
	done := slices.DeleteFunc(slices.Clone(r.orders), func(o *order) bool { return !o.gone })
	r.mu.Unlock()
	if len(done) == 0 {
		return nil
	}
	if err := r.store.SettleRollups(ctx, r.zone, r.readers); err != nil {
		return err
	}
	for _, o := range done {
		if err := r.book.remove(o.ID); err != nil {
			return err
		}
		r.end(o)
	}
	r.log.Info("rollups hold nothing that was erased", "orders", len(done))
	return nil
}
