package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/store/storetest"
)

func TestAddress(t *testing.T) {
	for _, c := range []struct{ address, addr, user, password, database string }{
		{"clickhouse://db.example", "db.example:9000", "default", "", "footfall"},
		{"clickhouse://anna:p%40ss%2F@db.example:9001/web", "db.example:9001", "anna", "p@ss/", "web"},
		{"clickhouse://anna@[2001:db8::1]/web", "[2001:db8::1]:9000", "anna", "", "web"},
		{"clickhouse://db.example/web?secure=true", "db.example:9440", "default", "", "web"},
	} {
		o, err := parseAddress(c.address)
		if err != nil {
			t.Errorf("%s: %v", c.address, err)
			continue
		}
		if o.Addr[0] != c.addr || o.Auth.Username != c.user || o.Auth.Password != c.password || o.Auth.Database != c.database {
			t.Errorf("%s: %v %+v", c.address, o.Addr, o.Auth)
		}
		if (o.TLS != nil) != strings.Contains(c.address, "secure") {
			t.Errorf("%s: TLS %v", c.address, o.TLS)
		}
	}
}

const secret = "Geheim%2Fwort"

func TestBadAddressesKeepTheirSecret(t *testing.T) {
	for address, want := range map[string]string{
		"":                            "either an address or an engine",
		"abc":                         "does not begin with clickhouse://",
		"http://u:" + secret + "@h/d": "does not begin with clickhouse://",
		"clickhouse://u:" + secret + "@h:90:00/d":      "name of one host",
		"clickhouse://u:" + secret + "\x7f@h/d":        "cannot be read",
		"clickhouse://u:" + secret + "#%zz@h/d":        "cannot be read",
		"clickhouse://u:" + secret + "@/d":             "name of one host",
		"clickhouse://u:" + secret + "@a,b/d":          "name of one host",
		"clickhouse://u:" + secret + "@h/a/b":          "name of one database",
		"clickhouse://u:" + secret + "@h/a%60b":        "name of one database",
		"clickhouse://u:" + secret + "@h/d?x=1":        `unknown parameter "x"`,
		"clickhouse://u:" + secret + "@h/d?secure=why": "neither true nor false",
	} {
		_, err := Open(Options{URL: address})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", address, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "Geheim") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

// TestPasswordStaysSecret looks for passwords, right and wrong, wherever the store writes.
func TestPasswordStaysSecret(t *testing.T) {
	server := sharedServer(t)
	for _, password := range []string{storetest.GuardedPassword, "wrong-word"} {
		var log syncBuffer
		o := Options{
			URL:      server.GuardedURL(password, "guarded_"+strings.ReplaceAll(password, "-", "_")),
			Log:      slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
		}
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		patience := 500 * time.Millisecond // a write goes on until then
		if password == storetest.GuardedPassword {
			patience = 30 * time.Second
		}
		ctx, cancel := context.WithTimeout(testContext(t), patience)
		writeErr := s.Write(ctx, testBatch(1, 1))
		pingErr := s.Ping(testContext(t))
		cancel()
		s.Close()
		o.Log.Info("everything", "options", o, "store", s)
		if right := password == storetest.GuardedPassword; right != (pingErr == nil) || right != (writeErr == nil) {
			t.Errorf("ping %v, write %v", pingErr, writeErr)
		}
		text := fmt.Sprint(writeErr, pingErr, o, s) + fmt.Sprintf("%v %+v %#v %s %q %x %d", o, o, o, o, o, o, o) +
			fmt.Sprintf("%v %+v %#v", s, s, s) + log.String()
		if strings.Contains(text, password) || strings.Contains(text, fmt.Sprintf("%x", password)) {
			t.Errorf("the password is in\n%s", text)
		}
		if !isPermanentText(text) && password != storetest.GuardedPassword {
			t.Errorf("nothing says that access is refused:\n%s", text)
		}
	}
}

func isPermanentText(s string) bool { return strings.Contains(s, "refuses a batch") }

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	o := Options{URL: sharedServer(t).NewURL(), Registerer: r}
	s := openStore(t, o)
	if err := s.Write(testContext(t), testBatch(1, 7)); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	for name, want := range map[string]float64{"footfall_store_up": 1, "footfall_stored_events_total": 7,
		"footfall_insert_seconds": 2, "footfall_insert_retries_total": 0, "footfall_insert_checks_total": 0} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if _, err := Open(o); err == nil {
		t.Error("a second store on one registry is no error")
	}
}

func TestBackoff(t *testing.T) {
	s := &Store{retryMin: 100 * time.Millisecond, retryMax: 15 * time.Second}
	for failures := range 2000 { // far beyond where a doubled time overflows
		limit := s.retryMax
		if failures < 7 {
			limit = s.retryMin << failures
		}
		for range 5 {
			if d := s.backoff(failures); d <= 0 || d > limit {
				t.Fatalf("after %d failures %s, want at most %s", failures, d, limit)
			}
		}
	}
}

func TestWriteRefusesABatchWithoutAnID(t *testing.T) {
	s := openStore(t, Options{URL: "clickhouse://127.0.0.1:1/x"})
	if err := s.Write(testContext(t), testBatch(0, 1)); err == nil {
		t.Error("it was accepted")
	}
	if err := s.Write(testContext(t), &event.Batch{ID: 1}); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}

// TestCloseEndsCalls closes a store whose server does not answer.
func TestCloseEndsCalls(t *testing.T) {
	server := storetest.StartServer(t)
	s := openStore(t, Options{URL: server.NewURL()})
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Write(ctx, testBatch(1, 1)) }()
	time.Sleep(100 * time.Millisecond)
	start := time.Now()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	s.Close()
	s.Close()
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %s", d)
	}
}

// TestChangedTable waits, loudly, for somebody to mend a table that was changed.
func TestChangedTable(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		if err := s.Write(testContext(t), testBatch(1, 5)); err != nil {
			t.Fatal(err)
		}
		for _, change := range []struct{ break_, mend string }{
			{"ALTER TABLE events DROP COLUMN notice", "ALTER TABLE events ADD COLUMN notice UInt32"},
			{"RENAME TABLE events TO away", "RENAME TABLE away TO events"},
		} {
			if err := s.writer.Exec(testContext(t), change.break_); err != nil {
				t.Fatal(err)
			}
			before := value(s.metrics.retries.WithLabelValues(retryRefused))
			done := make(chan error, 1)
			batch := testBatch(uint64(before)+2, 5)
			go func() { done <- s.Write(testContext(t), batch) }()
			waitFor(t, "a refusal", func() bool { return value(s.metrics.retries.WithLabelValues(retryRefused)) > before+1 })
			if err := s.writer.Exec(testContext(t), change.mend); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			wantOnce(t, s, batch.ID, 5)
		}
	})
}
