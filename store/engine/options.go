package engine

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Defaults of Options.
const (
	DefaultMaxMemory = 1 << 30   // bytes
	DefaultMaxInsert = 256 << 20 // bytes
)

// Options configure a Supervisor. DataDir is needed; all else has defaults.
type Options struct {
	// DataDir is the program's data directory. The database is in its folder "engine", the socket is
	// its file "engine.sock".
	DataDir string
	// Executable and Args start the child; Args come before the child's own flags. Defaults: this
	// program and "engine". Main must be what runs there.
	Executable string
	Args       []string
	// LibPath is the library or its folder; empty: FindLibrary.
	LibPath string
	// MaxMemory bounds the engine's memory in bytes, and a single statement's to 3/4 of it;
	// aggregations and sorts go to disk from 1/5 of it on. Default: DefaultMaxMemory, but at most half
	// of the machine's memory.
	MaxMemory int64
	// MaxInsert bounds one insert in bytes, since it is kept in memory whole. Default DefaultMaxInsert.
	MaxInsert int64
	// Sessions is how many statements run side by side, inserts aside. Default: twice the number of
	// processors, at least 4.
	Sessions int

	Now        func() time.Time // default time.Now
	Log        *slog.Logger     // default: none
	Registerer prometheus.Registerer

	probeEvery, probePatience time.Duration // for tests
}

func (s *Supervisor) defaults() error {
	o := &s.o
	var err error
	if o.Executable == "" {
		if o.Executable, err = os.Executable(); err != nil {
			return err
		}
	}
	if o.Args == nil {
		o.Args = []string{"engine"}
	}
	if o.LibPath == "" {
		s.library, err = FindLibrary()
	} else {
		s.library, err = libraryAt(o.LibPath)
	}
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = DefaultMaxMemory
		if total := totalMemory(); total > 0 {
			o.MaxMemory = min(o.MaxMemory, total/2)
		}
	}
	if o.MaxInsert <= 0 {
		o.MaxInsert = DefaultMaxInsert
	}
	if o.Sessions <= 0 {
		o.Sessions = max(4, 2*runtime.NumCPU())
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (s *Supervisor) metrics() error {
	s.up = prometheus.NewGauge(prometheus.GaugeOpts{Name: "footfall_engine_up",
		Help: "1 while the embedded engine answers, 0 while it does not run or is starting."})
	s.restarts = prometheus.NewCounter(prometheus.CounterOpts{Name: "footfall_engine_restarts_total",
		Help: "Times the embedded engine had to be started again."})
	if s.o.Registerer == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{s.up, s.restarts} {
		if err := s.o.Registerer.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// keepFree is how many bytes of the disk the engine leaves to others.
const keepFree = 64 << 20

// childArgs is the child's command line.
func (s *Supervisor) childArgs() []string {
	o := &s.o
	args := append([]string{}, o.Args...)
	args = append(args, "--path", filepath.Join(o.DataDir, "engine"), "--socket", s.socket, "--library", s.library, "--parent-pipe",
		"--sessions", strconv.Itoa(o.Sessions), "--max-insert", strconv.FormatInt(o.MaxInsert, 10))
	mem := func(num, den int64) string { return strconv.FormatInt(o.MaxMemory/den*num, 10) }
	flags := func(flag string, settings ...setting) {
		for _, st := range settings {
			args = append(args, flag, st.name+"="+st.value)
		}
	}
	flags("--set",
		setting{"max_memory_usage", mem(3, 4)},
		setting{"max_bytes_before_external_group_by", mem(1, 5)},
		setting{"max_bytes_before_external_sort", mem(1, 5)},
		setting{"implicit_select", "0"}, // `garbage` is a syntax error here as it is on a server
	)
	flags("--server",
		setting{"max_server_memory_usage", mem(1, 1)},
		setting{"mark_cache_size", mem(1, 8)},
		setting{"primary_index_cache_size", mem(1, 16)},
		setting{"query_condition_cache_size", mem(1, 64)},
		setting{"index_mark_cache_size", mem(1, 64)},
		// On a disk that fills up while it writes, the engine can confirm a part all files of which are
		// empty. So it stops before: neither inserts nor merges begin with less than this free.
		setting{"storage_configuration.disks.default.keep_free_space_bytes", strconv.Itoa(keepFree)},
	)
	return args
}
