package spool

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// segmentFile makes a spool with one segment of events 1 to n and returns its file's name and bytes, as
// a kill would leave them, or sealed. bounds holds where each frame ends.
func segmentFile(t testing.TB, n int, sealed bool) (name string, data []byte, bounds []int) {
	t.Helper()
	r := newRig(t, func(o *Options) { o.MaxAge = time.Hour })
	bounds = []int{headerSize}
	for i := 1; i <= n; i++ {
		r.append(t, i, i+1)
		bounds = append(bounds, bounds[i-1]+len(appendRecord(nil, hit(i))))
	}
	if sealed {
		r.Close(canceled())
		bounds = append(bounds, bounds[n]+footerSize)
	}
	names := r.files(t)
	if len(names) != 1 {
		t.Fatalf("the files are %v", names)
	}
	data, err := os.ReadFile(filepath.Join(r.dir, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	if len(data) != bounds[len(bounds)-1] {
		t.Fatalf("%d bytes, want %d", len(data), bounds[len(bounds)-1])
	}
	return names[0], data, bounds
}

// noSync leaves out what only a power failure would show.
type noSync struct{ diskFS }

func (noSync) SyncDir(string) error { return nil }

func (f noSync) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	o, err := f.diskFS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return noSyncFile{o}, nil
}

type noSyncFile struct{ File }

func (noSyncFile) Sync() error { return nil }

// The program is killed at every byte of a segment.
func TestEveryTornPosition(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	for _, sealed := range []bool{false, true} {
		const n = 4
		name, data, bounds := segmentFile(t, n, sealed)
		id, _, _ := readHeader(string(data))
		for size := 0; size <= len(data); size++ {
			whole, boundary := 0, size == 0
			for i, b := range bounds {
				boundary = boundary || size == b
				if i > 0 && size >= b {
					whole = min(i, n)
				}
			}
			r := openDir(t, dir, name, data[:size])
			torn := r.metricAtOpen["footfall_spool_torn_total"]
			lostEnd := sealed && size < len(data) && whole > 0
			if want := !boundary && size > headerSize || lostEnd; (torn == 1) != want {
				t.Errorf("sealed %v, cut at %d of %d: %v torn tails are reported", sealed, size, len(data), torn)
			}
			if st := r.Status(); st.Events != int64(whole) {
				t.Errorf("sealed %v, cut at %d: %d events, want %d", sealed, size, st.Events, whole)
			}
			m := r.drainAll(t)
			same(t, m.events(), 1, whole+1)
			for _, b := range m.batches {
				if b.ID != id || !b.Replayed {
					t.Errorf("sealed %v, cut at %d: batch %x (replayed %v), want %x", sealed, size, b.ID, b.Replayed, id)
				}
			}
			if left := r.files(t); len(left) != 0 {
				t.Errorf("sealed %v, cut at %d: %v is left", sealed, size, left)
			}
		}
	}
}

// openedRig is a spool whose folder held one file, with its metrics as they were then.
type openedRig struct {
	*rig
	metricAtOpen map[string]float64
}

func openDir(t *testing.T, dir, name string, data []byte) openedRig {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := openRig(t, dir, noSync{}, nil)
	o := openedRig{r, map[string]float64{}}
	for _, m := range []string{"footfall_spool_torn_total", "footfall_spool_corrupt_total", "footfall_spool_events", "footfall_spool_bytes"} {
		o.metricAtOpen[m] = r.metric(t, m)
	}
	return o
}

// One bit of a segment is flipped, each in turn: all other events survive, what is lost is counted, and
// nothing is read that was not written.
func TestEveryBitFlip(t *testing.T) {
	const n = 4
	dir := filepath.Join(t.TempDir(), "spool")
	for _, sealed := range []bool{false, true} {
		name, data, bounds := segmentFile(t, n, sealed)
		id, _, _ := readHeader(string(data))
		for bit := range len(data) * 8 {
			pos := bit / 8
			bad := bytes.Clone(data)
			bad[pos] ^= 1 << (bit % 8)
			hurt := 0 // the event whose frame it is in
			for i := 1; i <= n; i++ {
				if pos >= bounds[i-1] && pos < bounds[i] {
					hurt = i
				}
			}
			var got []int
			scan(bad, id, func(rec []byte) {
				var e event.Event
				if err := e.Decode(string(rec)); err != nil {
					t.Fatalf("bit %d: %v", bit, err)
				}
				if e.Props = append([]event.Prop(nil), e.Props...); !reflect.DeepEqual(e, *hit(int(e.ID))) {
					t.Fatalf("bit %d: a wrong event was accepted: %+v", bit, e)
				}
				got = append(got, int(e.ID))
			})
			var want []int
			for i := 1; i <= n; i++ {
				if i != hurt {
					want = append(want, i)
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("bit %d: events %v, want %v", bit, got, want)
			}

			if bit%8 != pos%8 {
				continue // the whole way once a byte
			}
			r := openDir(t, dir, name, bad)
			m := r.drainAll(t)
			if len(m.events()) != len(want) {
				t.Errorf("byte %d: %d events stored, want %d", pos, len(m.events()), len(want))
			}
			// Gathering after Close finds nothing: the counters themselves are asked.
			lost, torn := counter(r.metrics.corrupt), counter(r.metrics.torn)
			tail := !sealed && hurt == n // cannot be told from a torn tail
			switch {
			case tail:
				if torn != 1 || lost != 0 {
					t.Errorf("byte %d, in the last record: torn %v, corrupt %v", pos, torn, lost)
				}
			case lost != float64(n-len(want)):
				t.Errorf("byte %d: %v events counted as lost, want %d", pos, lost, n-len(want))
			}
			if hurt > 0 && !strings.Contains(r.log.String(), "segment=") {
				t.Errorf("byte %d: nothing was logged", pos)
			}
		}
	}
}

// The bytes of a whole frame inside an event are not read as one, even when the frame around them is
// damaged.
func TestFramesInsideEventsAreNotBelieved(t *testing.T) {
	const id = 0x1122334455667788
	inner := appendRecord(nil, hit(666))
	stamp(inner, id, headerSize) // right for another place
	evil := hit(1)
	evil.Title = strings.Repeat(string(inner), 3)
	data := appendHeader(nil, id, time.Now())
	for range 2 {
		frame := appendRecord(nil, evil)
		stamp(frame, id, int64(len(data)))
		data = append(data, frame...)
	}
	data[headerSize] ^= 1
	var ids []uint64
	c := scan(data, id, func(rec []byte) {
		var e event.Event
		if err := e.Decode(string(rec)); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	})
	if !reflect.DeepEqual(ids, []uint64{1}) || c.gaps != 1 {
		t.Errorf("events %v, %d gaps", ids, c.gaps)
	}
}

// A footer ends a segment, whatever follows.
func TestNothingBehindTheFooterIsRead(t *testing.T) {
	name, data, bounds := segmentFile(t, 2, true)
	id, _, _ := readHeader(string(data))
	for n := 10; n < 12; n++ {
		frame := appendRecord(nil, hit(n))
		stamp(frame, id, int64(len(data)))
		data = append(data, frame...)
	}
	r := openDir(t, filepath.Join(t.TempDir(), "spool"), name, data)
	if torn := r.metricAtOpen["footfall_spool_torn_total"]; torn != 1 {
		t.Errorf("%v torn tails are reported", torn)
	}
	if got := r.metricAtOpen["footfall_spool_bytes"]; got != float64(bounds[3]) {
		t.Errorf("%v bytes, want %d", got, bounds[3])
	}
	same(t, r.drainAll(t).events(), 1, 3)
}

func TestDamagedHeaderAndNothingElseIsPutAside(t *testing.T) {
	name, data, bounds := segmentFile(t, 2, true)
	data[3] ^= 1
	data[bounds[0]] ^= 1
	data[bounds[1]] ^= 1
	data[bounds[2]] ^= 1
	dir := filepath.Join(t.TempDir(), "spool")
	r := openDir(t, dir, name, data)
	if r.metricAtOpen["footfall_spool_corrupt_total"] == 0 {
		t.Error("nothing is counted")
	}
	if len(r.drainAll(t).events()) != 0 {
		t.Error("events came out")
	}
	if left := r.files(t); len(left) != 1 || left[0] != name+asideSuffix {
		t.Errorf("the files are %v", left)
	}
	again := openRig(t, dir, diskFS{}, nil) // it is left alone
	if st := again.Status(); st.Events != 0 || len(again.files(t)) != 1 {
		t.Errorf("status %+v, files %v", st, again.files(t))
	}
}

// A segment that a later version wrote is kept for it, and the others are stored.
func TestUnknownFormIsPutAside(t *testing.T) {
	name, data, bounds := segmentFile(t, 3, true)
	id, _, _ := readHeader(string(data))
	for i := range 3 {
		data[bounds[i]+frameHead] = 99 // the version
		stamp(data[bounds[i]:bounds[i+1]], id, int64(bounds[i]))
	}
	r := openDir(t, filepath.Join(t.TempDir(), "spool"), name, data)
	r.append(t, 50, 60)
	m := r.drainAll(t)
	same(t, m.events(), 50, 60)
	if left := r.files(t); len(left) != 1 || left[0] != name+asideSuffix {
		t.Errorf("the files are %v", left)
	}
	if st := r.Status(); st.Events != 0 || st.Bytes != 0 {
		t.Errorf("status %+v", st)
	}
	if got := counter(r.metrics.corrupt); got != 3 {
		t.Errorf("%v are counted as corrupt, want 3", got)
	}
}

func TestRecoveredSegmentsComeFirstAndKeepTheirIds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	r := openRig(t, dir, diskFS{}, func(o *Options) { o.SegmentEvents = 10 })
	r.append(t, 1, 26)
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "spool") // as kill -9 would leave it
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	first := r.drainAll(t)

	again := openRig(t, copied, diskFS{}, nil)
	again.append(t, 26, 31)
	m := again.drainAll(t)
	same(t, m.events(), 1, 31)
	if len(m.batches) != 4 {
		t.Fatalf("%d batches", len(m.batches))
	}
	for i, b := range m.batches {
		if i < 3 && (b.ID != first.batches[i].ID || !b.Replayed) || i == 3 && b.Replayed {
			t.Errorf("batch %d is %x, replayed %v", i, b.ID, b.Replayed)
		}
	}
	if left := again.files(t); len(left) != 1 || left[0] != "notes.txt" {
		t.Errorf("the files are %v", left)
	}
}

func TestOneProcessOnly(t *testing.T) {
	r := newRig(t, nil)
	o := Options{Dir: r.dir, MaxBytes: 1 << 20, Now: time.Now, Log: r.Spool.log}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second spool in one folder: %v", err)
	}
	r.Close(canceled())
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(canceled()); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Options){
		"no folder":     func(o *Options) { o.Dir = "" },
		"negative sync": func(o *Options) { o.Sync = -1 },
		"no room":       func(o *Options) { o.MaxBytes = 1 },
		"a file":        func(o *Options) { o.Dir = filepath.Join(r.dir, "file") },
	} {
		if err := os.WriteFile(filepath.Join(r.dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		bad := o
		change(&bad)
		if s, err := Open(bad); err == nil {
			s.Close(canceled())
			t.Errorf("%s is no error", what)
		}
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := openRig(t, dir, diskFS{}, nil)
	r.append(t, 1, 2)
	paths := []string{dir}
	for _, n := range r.files(t) {
		paths = append(paths, filepath.Join(dir, n))
	}
	for _, p := range paths {
		fi, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", filepath.Base(p), fi.Mode())
		}
	}
}

func FuzzSegment(f *testing.F) {
	for _, sealed := range []bool{false, true} {
		_, data, bounds := segmentFile(f, 3, sealed)
		f.Add(data)
		f.Add(data[:len(data)-3])
		bad := bytes.Clone(data)
		bad[bounds[1]+20] ^= 4
		f.Add(bad)
		f.Add(append(bytes.Clone(data), data...))
	}
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, _, ok := readHeader(string(data[:min(len(data), headerSize)]))
		if !ok {
			id = 1
		}
		before := bytes.Clone(data)
		records := 0
		var rebuilt [][]byte
		c := scan(data, id, func(rec []byte) {
			records++
			rebuilt = append(rebuilt, rec)
			var e event.Event
			if err := e.Decode(stringOf(rec)); err != nil && !errors.Is(err, event.ErrCorrupt) {
				t.Error(err)
			}
		})
		if !bytes.Equal(data, before) {
			t.Error("reading changed the bytes")
		}
		if c.records != records || c.end > len(data) || c.end < min(headerSize, len(data)) {
			t.Errorf("%+v of %d bytes, %d records", c, len(data), records)
		}
		// What was cut off is not missed: the rest reads the same.
		if again := scan(data[:c.end], id, func([]byte) {}); again != c {
			t.Errorf("%+v, and cut behind the last frame %+v", c, again)
		}
		// Written once more, the same records come out, with nothing amiss.
		out := appendHeader(nil, id, time.Unix(0, 0))
		for _, rec := range rebuilt {
			frame := append([]byte(openHead), rec...)
			frame[4], frame[5], frame[6], frame[7] = byte(len(rec)), byte(len(rec)>>8), byte(len(rec)>>16), recordMark
			stamp(frame, id, int64(len(out)))
			out = append(out, frame...)
		}
		i := 0
		if c := scan(out, id, func(rec []byte) {
			if !bytes.Equal(rec, rebuilt[i]) {
				t.Errorf("record %d changed", i)
			}
			i++
		}); c.records != records || c.gaps != 0 || c.end != len(out) {
			t.Errorf("written again: %+v", c)
		}
	})
}
