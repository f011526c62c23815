package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The ceilings that the README states: whatever comes in, the serving process takes no more memory, and the
// spool no more of the disk. The database, and the engine's process, have limits of their own.
const (
	memoryCeiling = 5 << 28       // bytes resident: the memory limit and a quarter for what Go does not count
	diskOverhead  = 1<<20 + 1<<18 // beyond spool.max_bytes: the reserve for what is refused, and the file system's blocks
)

// longEnv makes the loads as large as the tables are that bound them: minutes instead of seconds.
const longEnv = "FOOTFALL_CEILINGS"

// scale is short, or long where the long loads are asked for.
func scale(short, long int) int {
	if os.Getenv(longEnv) != "" {
		return long
	}
	return short
}

// peak returns the most memory that the process had resident since the last call, in bytes.
func (p *program) peak() int64 {
	p.t.Helper()
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	b, err := os.ReadFile(dir + "status")
	if err != nil {
		p.t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		p.t.Fatal("the system does not tell the memory of a process")
	}
	if err := os.WriteFile(dir+"clear_refs", []byte("5"), 0); err != nil {
		p.t.Fatal(err)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kib << 10
}

// diskUse returns how much of the disk the files below a folder take, in bytes.
func diskUse(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			sum += (fi.Size() + 4095) &^ 4095
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a segment that was stored meanwhile
		t.Fatal(err)
	}
	return sum
}

// flood sends n requests, made by request from their numbers, over several connections, depth of them before it
// waits for answers, and counts those by status. A connection that the other side closes is opened again; what it
// had not answered is 0.
func (p *program) flood(n, conns, depth int, request func(b []byte, i int) []byte) map[int]int {
	p.t.Helper()
	addr := strings.TrimPrefix(p.public, "http://")
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[int]int{}
	for range conns {
		wg.Go(func() {
			var nc net.Conn
			var br *bufio.Reader
			var buf []byte
			for {
				first := int(next.Add(int64(depth))) - depth
				if first >= n {
					break
				}
				if nc == nil {
					var err error
					if nc, err = net.Dial("tcp", addr); err != nil {
						p.t.Error(err)
						return
					}
					br = bufio.NewReader(nc)
				}
				buf = buf[:0]
				last := min(first+depth, n)
				for i := first; i < last; i++ {
					buf = request(buf, i)
				}
				nc.SetDeadline(time.Now().Add(time.Minute))
				go nc.Write(buf[:len(buf):len(buf)]) // a refused request is not read to its end
				answered := map[int]int{}
				ok := true
				for i := first; i < last; i++ {
					status := 0
					if ok {
						status, ok = answer(br)
					}
					answered[status]++
				}
				if !ok {
					nc.Close()
					nc, buf = nil, nil
				}
				mu.Lock()
				for status, k := range answered {
					got[status] += k
				}
				mu.Unlock()
			}
			if nc != nil {
				nc.Close()
			}
		})
	}
	wg.Wait()
	return got
}

// answer reads one answer and tells whether another may follow.
func answer(br *bufio.Reader) (status int, more bool) {
	length := 0
	more = true
	for first := true; ; first = false {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return status, false
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case first:
			if len(line) < 12 {
				return 0, false
			}
			status, _ = strconv.Atoi(string(line[9:12]))
		case len(line) == 0:
			_, err := br.Discard(length)
			return status, more && err == nil
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			length, _ = strconv.Atoi(string(line[16:]))
		case bytes.Equal(line, []byte("Connection: close")):
			more = false
		}
	}
}

// post appends a hit to b, sent by one of many networks and browsers.
func post(b []byte, i int, header, body string) []byte {
	return fmt.Appendf(b, "POST /api/event HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\nX-Forwarded-For: %d.%d.%d.%d\r\n%sContent-Length: %d\r\n\r\n%s",
		firefox, 11+i>>24&63, i>>16&255, i>>8&255, i&255, header, len(body), body)
}

// TestCeilings puts loads on the program that nobody means well with, and holds it to its limits.
func TestCeilings(t *testing.T) {
	const sites = "trusted_proxies: [127.0.0.1]\nsites: [{domain: example.org}]\n"
	p := start(t, t.TempDir(), "--config", writeConfig(t, sites), "--store", server(t).NewURL())
	counted := 0
	hit := func(i int, more string) string {
		return fmt.Sprintf(`{"n":"pageview","u":"https://example.org/page/%d","d":"example.org"%s}`, i, more)
	}
	wide := ""
	for i := range 30 {
		wide += fmt.Sprintf(`,"k%d":"%s"`, i, strings.Repeat("x", 1900))
	}
	wide = `,"p":{` + wide[1:] + `}`
	fields := strings.Repeat("X-Filler: "+strings.Repeat("y", 20)+"\r\n", 440)
	p.peak()
	for _, load := range []struct {
		name string
		send func() map[int]int
		want int // the status of all answers, or of those that are no refusal
	}{
		{"nothing", func() map[int]int { return nil }, 0},
		{"names of sites that are not there", func() map[int]int {
			return p.flood(scale(20_000, 500_000), 16, 50, func(b []byte, i int) []byte {
				return post(b, i, "", fmt.Sprintf(`{"n":"pageview","u":"https://s%d.example/","d":"s%d.example"}`, i, i))
			})
		}, 202},
		{"paths, visitors and ids, all different", func() map[int]int {
			n := scale(200_000, 3_000_000)
			counted += n
			return p.flood(n, 16, 50, func(b []byte, i int) []byte { return post(b, i, "", hit(i, fmt.Sprintf(`,"id":"%d"`, i))) })
		}, 202},
		{"pipelined by the thousand", func() map[int]int {
			n := scale(50_000, 500_000)
			counted += n
			return p.flood(n, 64, 1000, func(b []byte, i int) []byte { return post(b, i, "", hit(i, "")) })
		}, 202},
		{"headers of 15 KiB", func() map[int]int {
			n := scale(10_000, 200_000)
			counted += n
			return p.flood(n, 256, 4, func(b []byte, i int) []byte { return post(b, i, fields, hit(i, "")) })
		}, 202},
		{"headers of 30 KiB", func() map[int]int {
			return p.flood(scale(1000, 20_000), 64, 1, func(b []byte, i int) []byte { return post(b, i, fields+fields, hit(i, "")) })
		}, 431},
		{"bodies of 60 KiB", func() map[int]int {
			n := scale(1500, 20_000)
			counted += n
			return p.flood(n, 256, 1, func(b []byte, i int) []byte { return post(b, i, "", hit(i, wide)) })
		}, 202},
		{"bodies that nest", func() map[int]int {
			deep := strings.Repeat(`{"p":[`, 5000)
			return p.flood(scale(2000, 20_000), 128, 1, func(b []byte, i int) []byte { return post(b, i, "", deep) })
		}, 400},
		{"bodies of a megabyte", func() map[int]int {
			huge := strings.Repeat("x", 1<<20)
			return p.flood(scale(200, 2000), 32, 1, func(b []byte, i int) []byte { return post(b, i, "", huge) })
		}, 413},
		{"chunks without end", func() map[int]int {
			chunks := "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat("x", 4096)+"\r\n", 64)
			return p.flood(scale(500, 5000), 64, 1, func(b []byte, _ int) []byte {
				return append(append(b, "POST /api/event HTTP/1.1\r\nHost: x\r\n"...), chunks...)
			})
		}, 413},
		{"compressed bodies", func() map[int]int {
			bomb := string(bytes.Repeat([]byte{0x1f, 0x8b, 8, 0}, 10_000))
			return p.flood(scale(2000, 50_000), 64, 1, func(b []byte, i int) []byte { return post(b, i, "Content-Encoding: gzip\r\n", bomb) })
		}, 415},
		{"slow and silent clients", func() map[int]int { return p.dawdle(scale(2000, 7500)) }, 0},
	} {
		begin := time.Now()
		got := load.send()
		sum := 0
		for status, n := range got {
			sum += n
			if status != load.want {
				t.Errorf("%s: %d answers of %d, want %d", load.name, n, status, load.want)
			}
		}
		peak, disk := p.peak(), diskUse(t, filepath.Join(p.data, "spool"))
		t.Logf("%-40s %8d in %5.1f s: at most %4d MiB resident, %4d MiB of spool", load.name, sum, time.Since(begin).Seconds(), peak>>20, disk>>20)
		if peak > memoryCeiling {
			t.Errorf("%s: %d MiB resident", load.name, peak>>20)
		}
		// Somebody else is served all the same.
		if status, _ := p.hit(hit(0, "")); status != 202 {
			t.Errorf("after %s a hit is answered %d", load.name, status)
		}
		counted++
	}
	deadline := time.Now().Add(5 * time.Minute)
	for {
		r, status := p.ledger("--site", "example.org")
		if status != 0 || !r.Balances {
			t.Fatalf("status %d, %+v", status, r.Total)
		}
		if r.Total.Pending == 0 {
			if r.Total.Stored != uint64(counted) {
				t.Errorf("%d hits are stored, %d were acknowledged", r.Total.Stored, counted)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v are not stored", r.Total)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// dawdle opens connections that say nothing, half a header, or a body byte by byte, and holds them while others
// are served. It returns nothing: such clients get whatever answer they wait for.
func (p *program) dawdle(n int) map[int]int {
	p.t.Helper()
	addr := strings.TrimPrefix(p.public, "http://")
	var all []net.Conn
	defer func() {
		for _, nc := range all {
			nc.Close()
		}
	}()
	for i := range n {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			p.t.Fatalf("connection %d: %v", i, err)
		}
		all = append(all, nc)
		switch i % 3 {
		case 0:
			io.WriteString(nc, "POST /api/event HTTP/1.1\r\nHost: x\r\nX-Half: "+strings.Repeat("x", 10_000))
		case 1:
			io.WriteString(nc, "POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{")
		}
	}
	for range 3 {
		for i, nc := range all {
			if i%3 == 1 {
				io.WriteString(nc, " ") // fails where the other side has had enough
			}
		}
		begin := time.Now()
		if status, _ := p.hit(`{"n":"pageview","u":"https://example.net/","d":"example.net"}`); status != 202 || time.Since(begin) > 10*time.Second {
			p.t.Errorf("beside %d slow clients a hit is answered %d after %v", n, status, time.Since(begin))
		}
	}
	return nil
}

// TestSpoolAtItsCap: with a database that stays away the spool fills up to its limit and no further. Then hits are
// refused in so many words, the program says that it is not ready, and keeps to its memory.
func TestSpoolAtItsCap(t *testing.T) {
	limit := scale(4, 256) << 20
	config := writeConfig(t, fmt.Sprintf("trusted_proxies: [127.0.0.1]\nspool: {max_bytes: %d}\nsites: [{domain: example.org}]\n", limit))
	p := start(t, t.TempDir(), "--config", config, "--store", "clickhouse://127.0.0.1:1/footfall")
	dir := filepath.Join(p.data, "spool")
	p.peak()
	taken, refused := 0, 0
	send := func(n int) {
		for status, k := range p.flood(n, 16, 50, func(b []byte, i int) []byte {
			return post(b, taken+i, "", fmt.Sprintf(`{"n":"pageview","u":"https://example.org/%d","d":"example.org"}`, taken+i))
		}) {
			switch status {
			case 202:
				taken += k
			case 503:
				refused += k
			default:
				t.Fatalf("%d answers of %d", k, status)
			}
		}
		if got := diskUse(t, dir); got > int64(limit)+diskOverhead {
			t.Fatalf("the spool takes %d bytes of %d", got, limit)
		}
	}
	for refused == 0 {
		send(limit / 1000)
	}
	send(scale(100_000, 1_000_000))
	disk, peak := diskUse(t, dir), p.peak()
	t.Logf("%d taken, %d refused: %d KiB of %d KiB on disk, at most %d MiB resident", taken, refused, disk>>10, limit>>10, peak>>20)
	if peak > memoryCeiling {
		t.Errorf("%d MiB resident", peak>>20)
	}
	status, header := p.hit(`{"n":"pageview","u":"https://example.org/","d":"example.org"}`)
	if n, err := strconv.Atoi(header.Get("Retry-After")); status != 503 || err != nil || n < 1 {
		t.Errorf("a hit is answered %d, to try again after %q", status, header.Get("Retry-After"))
	}
	res, err := p.client.Get(p.public + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 503 || string(b) != "the spool is full\n" {
		t.Errorf("readyz: %s %q %v", res.Status, b, err)
	}
	const full = `footfall_hits_total\{outcome="rejected",reason="full",source="script"\}`
	metrics := p.scrape()
	if sample(metrics, "footfall_ready") != 0 || sample(metrics, "footfall_spool_bytes") > float64(limit+diskOverhead) ||
		sample(metrics, "footfall_spool_events") != float64(taken) || sample(metrics, full) != float64(refused+1) {
		t.Errorf("the metrics say ready %v, %v bytes, %v events, %v refused", sample(metrics, "footfall_ready"), sample(metrics, "footfall_spool_bytes"),
			sample(metrics, "footfall_spool_events"), sample(metrics, full))
	}
}
