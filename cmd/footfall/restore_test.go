package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestHabitsSurviveARestart: a program that was started a moment ago knows from the books which sites usually
// have hits, and says which have none.
func TestHabitsSurviveARestart(t *testing.T) {
	var seconds atomic.Int64
	seconds.Store(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC).Unix())
	config := writeConfig(t, twoSites)
	cfg, err := loadConfig(config, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	cfg.Data, cfg.Listen, cfg.Staff, cfg.Store = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", storeURL(server(t).NewURL())
	run := func() *app {
		t.Helper()
		a, err := newApp(t.Context(), cfg, slog.New(slog.DiscardHandler), surroundings{clocks: clocks{now: func() time.Time { return time.Unix(seconds.Load(), 0) }}})
		if err != nil {
			t.Fatal(err)
		}
		a.start(t.Context())
		return a
	}
	a := run()
	hit := func(site string) {
		t.Helper()
		req, err := http.NewRequest("POST", localURL(a.public.Addr().String())+"/api/event",
			strings.NewReader(`{"n":"pageview","u":"https://`+site+`/","d":"`+site+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", firefox)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != "ok" || res.Header.Get("X-Footfall-Dropped") != "" {
			t.Fatalf("%s %s %v", res.Status, b, err)
		}
	}
	for range 26 * 4 {
		for range 10 {
			hit("example.org")
			hit("example.net")
		}
		seconds.Add(15 * 60)
	}
	a.stop()
	seconds.Add(60)
	a = run()
	defer func() { a.stop() }()
	for range 4 {
		hit("example.org")
		seconds.Add(15 * 60)
	}
	hit("example.org")
	eventually(t, "the silence of example.net", func() (string, bool) {
		s := a.collector.Silent()
		return fmt.Sprintf("%+v", s), len(s) == 1 && s[0].Site == "example.net"
	})
}
