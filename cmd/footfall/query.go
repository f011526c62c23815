package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/dashboard/statsapi"
)

// runQuery answers a Stats API query: by the serve that owns the data directory, or where
// there is none by opening the store itself.
func runQuery(ctx context.Context, s streams, args []string) error {
	f := newServeFlags("query", s)
	rest, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	body := []byte(rest[0])
	if rest[0] == "-" {
		if body, err = io.ReadAll(s.in); err != nil {
			return err
		}
	}
	answer, status, err := askServe(ctx, cfg, http.MethodPost, "/api/v2/query", body)
	if err != nil {
		answer, status, err = askStore(ctx, s, cfg, body)
	}
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		err := errors.New(errorText(answer))
		if status >= 400 && status < 500 {
			return usageError{err}
		}
		return err
	}
	_, err = s.out.Write(append(bytes.TrimSpace(answer), '\n'))
	return err
}

func errorText(answer []byte) string {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(answer, &e) != nil || e.Error == "" {
		return strings.TrimSpace(string(answer))
	}
	return e.Error
}

// askServe asks over the socket in the data directory. An error means that nobody is there.
func askServe(ctx context.Context, c *Config, method, path string, body []byte) ([]byte, int, error) {
	client := controlClient(c)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://footfall"+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return answer, res.StatusCode, err
}

// askStore opens the store in this process. The embedded one belongs to whoever owns the data directory.
func askStore(ctx context.Context, s streams, c *Config, body []byte) ([]byte, int, error) {
	log := slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if c.Store.embedded() {
		lock, err := c.lockData(ctx, ownerCommand)
		if err != nil {
			return nil, 0, err
		}
		defer lock.unlock()
	}
	st, err := openStore(ctx, c, log, clocks{now: time.Now}, prometheus.NewRegistry())
	if err != nil {
		return nil, 0, err
	}
	defer within(closeTimeout, func(ctx context.Context) { st.close(ctx) })
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := st.Migrate(ready); err != nil {
		return nil, 0, fmt.Errorf("the store does not answer: %w", err)
	}
	api := statsapi.API{Reader: c.reports(st.Store), Site: c.apiSite, Now: time.Now, Log: log}
	res, err := api.Answer(ctx, auth.Identity{}, body)
	var se *statsapi.StatusError
	if errors.As(err, &se) {
		b, _ := json.Marshal(map[string]string{"error": se.Msg})
		return b, se.Status, nil
	}
	if err != nil {
		return nil, 0, err
	}
	b, err := json.Marshal(res)
	return b, http.StatusOK, err
}
