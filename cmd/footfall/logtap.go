package main

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// logTap is a log handler that can be listened to: while somebody does, it also writes all records,
// debug included, as text for them.
type logTap struct {
	next slog.Handler
	text slog.Handler // writes to tap
	tap  *tapped
}

// Bounds of listening.
const (
	tapBytes = 32 << 20
	tapTime  = 15 * time.Minute
)

// tapped is what is heard.
type tapped struct {
	open atomic.Bool

	mu    sync.Mutex
	heard bytes.Buffer
	cut   bool // there was more than tapBytes
	last  *time.Timer
}

func newLogTap(next slog.Handler) (*slog.Logger, *tapped) {
	t := new(tapped)
	return slog.New(&logTap{next, slog.NewTextHandler(t, &slog.HandlerOptions{Level: slog.LevelDebug}), t}), t
}

func (l *logTap) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level) || l.tap.open.Load() && level >= slog.LevelDebug
}

func (l *logTap) Handle(ctx context.Context, r slog.Record) error {
	if l.tap.open.Load() {
		_ = l.text.Handle(ctx, r.Clone()) // it writes to memory
	}
	if !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

func (l *logTap) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logTap{l.next.WithAttrs(attrs), l.text.WithAttrs(attrs), l.tap}
}

func (l *logTap) WithGroup(name string) slog.Handler {
	return &logTap{l.next.WithGroup(name), l.text.WithGroup(name), l.tap}
}

// Write takes what is heard.
func (t *tapped) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.heard.Len()+len(p) > tapBytes {
		t.cut = true
	} else {
		t.heard.Write(p)
	}
	return len(p), nil
}

// listen begins to listen, anew where somebody did already. It ends by itself after tapTime.
func (t *tapped) listen() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last != nil {
		t.last.Stop()
	}
	t.heard, t.cut = bytes.Buffer{}, false
	t.last = time.AfterFunc(tapTime, func() { t.end() })
	t.open.Store(true)
}

// end ends it, and returns what was heard and whether that is all.
func (t *tapped) end() (heard []byte, whole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	whole = t.open.Swap(false) && !t.cut
	heard, t.heard = t.heard.Bytes(), bytes.Buffer{}
	if t.last != nil {
		t.last.Stop()
		t.last = nil
	}
	return heard, whole
}
