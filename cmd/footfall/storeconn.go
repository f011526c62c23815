package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/store"
	"github.com/kantarainitiative/footfall/store/engine"
)

// engineTimeout bounds the wait for the engine at start.
const engineTimeout = 5 * time.Second

// storeConn is the store, and the engine below it where that is the embedded one.
type storeConn struct {
	*store.Store
	engine *engine.Supervisor // nil: a server
}

// openStore opens the configured store. Neither a server that is down nor an engine that is
// still starting is an error: hits wait in the spool.
func openStore(ctx context.Context, c *Config, log *slog.Logger, t clocks, reg prometheus.Registerer) (*storeConn, error) {
	return openStoreOn(ctx, c, log, surroundings{clocks: t}, reg)
}

func openStoreOn(ctx context.Context, c *Config, log *slog.Logger, on surroundings, reg prometheus.Registerer) (*storeConn, error) {
	o := store.Options{Now: on.now, StoredAt: on.stored, Log: log, Registerer: reg}
	sc := &storeConn{}
	if c.Store.embedded() {
		lib, err := engine.FindLibrary()
		if err != nil {
			return nil, err
		}
		exe, err := os.Executable()
		if err != nil {
			return nil, err
		}
		if sc.engine, err = engine.Start(engine.Options{
			Executable: exe, DataDir: c.Data, LibPath: lib, Log: log, Registerer: reg,
		}); err != nil {
			return nil, err
		}
		// It takes part of a second; waiting spares the log a database that is not there yet.
		ready, cancel := context.WithTimeout(ctx, engineTimeout)
		defer cancel()
		if err := sc.engine.Ready(ready); err != nil && ctx.Err() == nil {
			log.Warn("the engine is slow to start: hits wait in the spool", "error", err)
		}
		if o.Engine = sc.engine; on.engine != nil {
			o.Engine = on.engine(sc.engine)
		}
	} else {
		o.URL = string(c.Store)
	}
	var err error
	if sc.Store, err = store.Open(o); err != nil {
		sc.close(context.Background())
		return nil, fmt.Errorf("store: %w", err)
	}
	return sc, nil
}

func (s *storeConn) close(ctx context.Context) {
	if s.Store != nil {
		s.Store.Close()
	}
	if s.engine != nil {
		s.engine.Stop(ctx)
	}
}

// checkStore tells what the configured store is, or what is missing for it.
func checkStore(c *Config) (string, error) {
	if !c.Store.embedded() {
		s, err := store.Open(store.Options{URL: string(c.Store)}) // asks nobody yet
		if err != nil {
			return "", err
		}
		s.Close()
		return c.Store.String(), nil
	}
	lib, err := engine.FindLibrary()
	if err != nil {
		return "", err
	}
	return "embedded (" + lib + ")", nil
}
