package main

import (
	"bufio"
	"bytes"
	"context"
	bin "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/kantarainitiative/footfall/dashboard/auth"
	"github.com/kantarainitiative/footfall/store"
	"github.com/kantarainitiative/footfall/store/engine"
)

// proveTarget is the serve that `footfall prove` looks at.
type proveTarget struct {
	Public string `json:"public"` // addresses that are bound
	Staff  string `json:"staff"`
	PID    int    `json:"pid"`
}

// handleProof adds what `footfall prove` asks of a serve to the control socket: where it is, what it logs, that all is
// stored, and the tables.
func (a *app) handleProof(control *http.ServeMux) {
	control.HandleFunc("GET /prove", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(proveTarget{Public: a.public.Addr().String(), Staff: a.private.Addr().String(), PID: os.Getpid()})
	})
	control.HandleFunc("POST /prove/listen", func(http.ResponseWriter, *http.Request) { a.tap.listen() })
	control.HandleFunc("POST /prove/log", func(w http.ResponseWriter, _ *http.Request) {
		heard, whole := a.tap.end()
		if !whole {
			auth.JSONError(w, http.StatusInsufficientStorage, "the log of this time is longer than what is kept for a proof")
			return
		}
		w.Write(heard)
	})
	control.HandleFunc("POST /prove/flush", func(w http.ResponseWriter, r *http.Request) {
		if err := a.spool.Flush(r.Context()); err != nil {
			auth.JSONError(w, http.StatusServiceUnavailable, err.Error())
		}
	})
	control.HandleFunc("GET /prove/tables", func(w http.ResponseWriter, r *http.Request) {
		within, err := strconv.ParseUint(r.URL.Query().Get("within"), 10, 31)
		if err != nil {
			auth.JSONError(w, http.StatusBadRequest, "within: "+err.Error())
			return
		}
		if err := writeTables(r.Context(), w, a.store.Store, time.Duration(within)*time.Second); err != nil {
			a.log.Warn("the tables could not be read back", "error", err)
		}
	})
}

// Tables go over the control socket in frames: a kind, the length of what follows in four bytes, and that.
const (
	frameColumn = 'c' // table, line's end, column, line's end: what data frames are of, until the next
	frameData   = 'd' // a piece of the column
	frameTable  = 't' // a store.ReadTable as JSON: it is read to its end
	frameError  = 'e' // why it ends here
	frameEnd    = 'z'

	maxFrame = 64 << 10
)

// writeTables writes all tables to w.
func writeTables(ctx context.Context, w io.Writer, st *store.Store, within time.Duration) error {
	out := bufio.NewWriterSize(w, maxFrame)
	frame := func(kind byte, data []byte) error {
		var head [5]byte
		head[0] = kind
		bin.BigEndian.PutUint32(head[1:], uint32(len(data)))
		out.Write(head[:])
		_, err := out.Write(data) // it remembers an error
		return err
	}
	type column struct{ table, name string }
	var columns []column
	pieces := map[column]*bytes.Buffer{}
	flush := func(c column) error {
		b := pieces[c]
		if b.Len() == 0 {
			return nil
		}
		if err := frame(frameColumn, []byte(c.table+"\n"+c.name)); err != nil {
			return err
		}
		defer b.Reset()
		return frame(frameData, b.Bytes())
	}
	err := st.ReadBack(ctx, within, func(table, name string, value []byte) error {
		c := column{table, name}
		b := pieces[c]
		if b == nil {
			b = new(bytes.Buffer)
			pieces[c], columns = b, append(columns, c)
		}
		b.Write(value)
		if b.Len() >= maxFrame {
			return flush(c)
		}
		return nil
	}, func(t store.ReadTable) error {
		for _, c := range columns {
			if err := flush(c); err != nil {
				return err
			}
		}
		columns = nil
		clear(pieces)
		text, err := json.Marshal(t)
		if err != nil {
			return err
		}
		return frame(frameTable, text)
	})
	if err != nil {
		frame(frameError, []byte(err.Error()))
	} else {
		frame(frameEnd, nil)
	}
	return errors.Join(err, out.Flush())
}

// readTables reads what writeTables wrote. data gets pieces of columns, which end between two values.
func readTables(r io.Reader, data func(table, column string, piece []byte), done func(store.ReadTable)) error {
	in := bufio.NewReaderSize(r, maxFrame)
	var table, column string
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return fmt.Errorf("the tables end too early: %w", err)
		}
		b := make([]byte, bin.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(in, b); err != nil {
			return fmt.Errorf("the tables end too early: %w", err)
		}
		switch head[0] {
		case frameColumn:
			t, c, _ := bytes.Cut(b, []byte{'\n'})
			table, column = string(t), string(c)
		case frameData:
			data(table, column, b)
		case frameTable:
			var t store.ReadTable
			if err := json.Unmarshal(b, &t); err != nil {
				return err
			}
			done(t)
		case frameError:
			return errors.New(string(b))
		case frameEnd:
			return nil
		}
	}
}

// askTables reads the tables of a running serve.
func askTables(ctx context.Context, c *Config, within time.Duration, data func(table, column string, piece []byte), done func(store.ReadTable)) error {
	client := controlClient(c)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://footfall/prove/tables?within=%d", within/time.Second), nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, err := io.ReadAll(io.LimitReader(res.Body, maxFrame))
		return errors.Join(errors.New(errorText(b)), err)
	}
	return readTables(res.Body, data, done)
}

// controlClient speaks to the serve that owns the data directory.
func controlClient(c *Config) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return engine.DialSocket(ctx, c.path("control.sock"))
		},
	}}
}
