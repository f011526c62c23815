package store

import (
	"context"
	"sync"
)

// readGate keeps writers from beginning while somebody reads. It is a RWMutex whose callers
// can give up: a stop must not wait for a database that hangs. A writer that waits goes
// before readers that come after it.
type readGate struct {
	mu      sync.Mutex
	readers int
	blocked bool          // a writer waits: the next readers do too
	free    chan struct{} // closed when the readers of the moment have left; nil without any
}

// enter lets a reader in; it calls leave at its end.
func (g *readGate) enter(ctx context.Context) (leave func(), err error) {
	for {
		g.mu.Lock()
		if !g.blocked {
			if g.readers == 0 {
				g.free = make(chan struct{})
			}
			g.readers++
			g.mu.Unlock()
			return g.leave, nil
		}
		free := g.free
		g.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (g *readGate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.readers--; g.readers == 0 {
		g.blocked = false
		close(g.free)
		g.free = nil
	}
}

// pass returns at a moment when nobody reads, or when those who read have all begun after it
// was called.
func (g *readGate) pass(ctx context.Context) error {
	g.mu.Lock()
	if g.readers == 0 {
		g.mu.Unlock()
		return nil
	}
	g.blocked = true
	free := g.free
	g.mu.Unlock()
	select {
	case <-free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waitLock is a mutex whose callers can give up.
type waitLock chan struct{}

func newWaitLock() waitLock { return make(waitLock, 1) }

// lock waits its turn; the holder calls unlock at its end.
func (l waitLock) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
