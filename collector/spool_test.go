package collector

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/collector/spool"
	"github.com/kantarainitiative/footfall/event"
)

// TestRestartWithSpool counts hits into a spool on disk, ends, and begins again from what
// is on the disk: the visit goes on, and what was acknowledged is there.
func TestRestartWithSpool(t *testing.T) {
	dir := t.TempDir()
	clk := &clock{t: noon}
	open := func() *spool.Spool {
		sp, err := spool.Open(spool.Options{Dir: dir, MaxBytes: 1 << 20, Now: clk.now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return sp
	}
	end := func(sp *spool.Spool) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // no sink took anything
		_ = sp.Close(ctx)
	}
	sp := open()
	first := newRig(t, func(o *Options) { o.Spool, o.Now = sp, clk.now })
	for _, p := range []string{"/in?utm_source=nl7", "/next"} {
		if a := first.post(t, page(p)); a.StatusCode != 202 {
			t.Fatalf("answered %d %s", a.StatusCode, a.body)
		}
		clk.add(time.Minute)
	}
	end(sp)
	if a := first.post(t, page("/closed")); a.StatusCode != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("a closed spool answered %d", a.StatusCode)
	}
	if a := first.do(t, "GET", "/readyz", ""); a.StatusCode != 503 || a.body != "shutting down\n" {
		t.Errorf("ready with a closed spool: %d %q", a.StatusCode, a.body)
	}

	sp = open()
	defer func() { end(sp) }()
	second := newRig(t, func(o *Options) { o.Spool, o.Now, o.Keys = sp, clk.now, first.c.keys })
	var before []event.Visit
	if err := sp.Pending(func(e *event.Event) error {
		second.c.Restore(e)
		v := e.Visit
		v.EntryPage, v.Source = strings.Clone(v.EntryPage), strings.Clone(v.Source)
		before = append(before, v)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(before) != 2 || before[0].ID != before[1].ID || before[0].EntryPage != "/in" || before[0].Source != "nl7" {
		t.Fatalf("on disk: %+v", before)
	}
	if a := second.post(t, page("/after")); a.StatusCode != 202 {
		t.Fatalf("answered %d", a.StatusCode)
	}
	n := 0
	if err := sp.Pending(func(e *event.Event) error {
		if n++; e.Visit.ID != before[0].ID || e.Visit.EntryPage != "/in" {
			t.Errorf("%s: visit %+v", e.Page, e.Visit)
		}
		return nil
	}); err != nil || n != 3 {
		t.Errorf("%d events, %v", n, err)
	}
}

// TestFullSpoolOnDisk fills a small spool: 503 and not ready, nothing lost, and ready again
// when there is room.
func TestFullSpoolOnDisk(t *testing.T) {
	sp, err := spool.Open(spool.Options{Dir: t.TempDir(), MaxBytes: 600 << 10, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(o *Options) { o.Spool = sp })
	taken := 0
	for i := 0; ; i++ {
		body := `{"n":"x","u":"https://example.org/","d":"example.org","p":{"a":"` + strings.Repeat("x", 2000) + `","b":"` + strings.Repeat("y", 2000) + `"}}`
		a := r.post(t, body, fmt.Sprintf("X-Forwarded-For: 198.51.100.%d", i%200))
		if a.StatusCode == 503 {
			break
		}
		if taken++; a.StatusCode != 202 || taken > 1000 {
			t.Fatalf("hit %d answered %d", i, a.StatusCode)
		}
	}
	if a := r.do(t, "GET", "/readyz", ""); a.StatusCode != 503 || a.body != "the spool is full\n" {
		t.Errorf("ready answered %d %q", a.StatusCode, a.body)
	}
	stored := new(countSink)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- sp.Run(ctx, stored) }()
	for deadline := time.Now().Add(30 * time.Second); sp.Status().Events > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if a := r.post(t, okBody); a.StatusCode != 202 {
		t.Errorf("with room again: %d", a.StatusCode)
	}
	if a := r.do(t, "GET", "/readyz", ""); a.StatusCode != 200 {
		t.Errorf("ready answered %d", a.StatusCode)
	}
	if err := sp.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if stored.n != taken+1 {
		t.Errorf("%d stored, %d acknowledged", stored.n, taken+1)
	}
}

type countSink struct{ n int }

func (c *countSink) Write(_ context.Context, b *event.Batch) error { c.n += len(b.Events); return nil }
