package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/store/storetest"
)

// TestCrashDamage flips bits of the spool's segments, sealed and open ones, under the running
// program and after its kill. What is lost then must be in the damaged segments, at most one
// hit for each flip, and must be reported; everything else is stored once.
func TestCrashDamage(t *testing.T) {
	seed := soakSeed(t)
	db := storetest.StartServer(t)
	totals := struct{ acknowledged, flips, lost, corrupt, torn int }{}
	rounds := max(4, int(soakTime(t)/(6*time.Second)))
	for i := range rounds {
		alive := i%2 == 0
		t.Run(fmt.Sprintf("%d alive=%v", i, alive), func(t *testing.T) {
			d := damage(t, db, seed+uint64(i), alive)
			totals.acknowledged += d.acknowledged
			totals.flips += d.flips
			totals.lost += len(d.lost)
			totals.corrupt += d.corrupt
			totals.torn += d.torn
		})
	}
	t.Logf("seed %d: %+v", seed, totals)
	if totals.flips == 0 || totals.lost == 0 {
		t.Errorf("nothing was damaged: %+v", totals)
	}
}

type damaged struct {
	verdicts
	flips, corrupt, torn int
}

// damage fills a spool whose database is away, flips bits and has the rest stored.
func damage(t *testing.T, db *storetest.Server, seed uint64, alive bool) (d damaged) {
	r := rand.New(rand.NewPCG(seed, 2))
	v := newVictim(t, seed, false)
	v.server = db
	v.sync = []string{"always", "20ms"}[r.IntN(2)]
	url := db.NewURL()
	v.database = url[strings.LastIndexByte(url, '/')+1:]
	v.args = append(v.args, "--store", url)

	v.began = time.Now()
	v.launch()
	v.listening()
	db.Kill()
	load := newSoakLoad(v, seed)
	load.resend = false // a lost hit must not come back by another way
	load.begin(6)
	for range 2 { // each life leaves a segment
		time.Sleep(time.Duration(200+r.IntN(400)) * time.Millisecond)
		v.killProgram()
		v.launch()
		v.listening()
	}
	time.Sleep(time.Duration(200+r.IntN(800)) * time.Millisecond)
	load.end()

	if !alive {
		v.killProgram()
	}
	inDamaged := map[int]int{} // number: flips of its segment
	var holds []string
	files, err := filepath.Glob(filepath.Join(v.data, "spool", "*-*.*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d segments, %v", len(files), err)
	}
	for _, path := range files {
		if r.IntN(4) == 0 {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		numbers := numbersIn(b)
		flips := 1 + r.IntN(3)
		for range flips {
			at := r.IntN(len(b))
			switch r.IntN(6) { // the ends more often than they are long
			case 0:
				at = r.IntN(28)
			case 1:
				at = len(b) - 1 - r.IntN(16)
			}
			flip(t, path, int64(at), byte(1)<<r.IntN(8))
			v.note(fmt.Sprintf("flip of byte %d of %d in %s", at, len(b), filepath.Base(path)))
		}
		d.flips += flips
		holds = append(holds, fmt.Sprintf("%s: %d numbers, %d flips", filepath.Base(path), len(numbers), flips))
		for n := range numbers {
			inDamaged[n] += flips
		}
	}
	if err := db.Restart(); err != nil {
		t.Fatal(err)
	}
	if !alive {
		v.launch()
		v.listening()
	}
	v.drain()
	m, err := v.metrics()
	if err != nil {
		t.Fatal(err)
	}
	d.corrupt, d.torn = int(m["footfall_spool_corrupt_total"]), int(m["footfall_spool_torn_total"])
	aside, err := filepath.Glob(filepath.Join(v.data, "spool", "*.unreadable"))
	if err != nil {
		t.Fatal(err)
	}

	d.verdicts = judge(load.hits(), v.stored(), nil)
	t.Logf("%d acknowledged, %d segments, %d flips, lost %d, reported: %d corrupt, %d torn, %d put aside", d.acknowledged, len(files), d.flips, len(d.lost), d.corrupt, d.torn, len(aside))
	for _, one := range append(append(d.doubled, d.resentDoubled...), d.wrong...) {
		t.Error("doubled or wrong: " + one)
	}
	for _, one := range d.lost {
		n, err := strconv.Atoi(strings.Fields(one)[1])
		if err != nil {
			t.Fatal(err)
		}
		if inDamaged[n] == 0 {
			t.Errorf("lost, though its segment is whole: %s", one)
		}
	}
	switch {
	case len(d.lost) > d.flips:
		t.Errorf("%d flips lost %d hits", d.flips, len(d.lost))
	case len(d.lost) > d.corrupt+d.torn:
		t.Errorf("%d hits are lost, and %d corrupt and %d torn reported", len(d.lost), d.corrupt, d.torn)
	case alive && d.corrupt != len(d.lost):
		t.Errorf("%d hits are lost, and %d reported, by a program that knows how many there were", len(d.lost), d.corrupt)
	}
	if len(aside) > 0 {
		t.Errorf("put aside: %v", aside)
	}
	if t.Failed() {
		t.Logf("what was done:\n%s\n%s", strings.Join(v.diary, "\n"), strings.Join(holds, "\n"))
	}
	return d
}

var numberInPage = regexp.MustCompile(`/n/(\d+)x`)

// numbersIn returns the numbers of the hits in a segment.
func numbersIn(b []byte) map[int]bool {
	out := map[int]bool{}
	for _, m := range numberInPage.FindAllSubmatch(b, -1) {
		if n, err := strconv.Atoi(string(m[1])); err == nil {
			out[n] = true
		}
	}
	return out
}

func flip(t *testing.T, path string, at int64, bit byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// listening waits until the program takes hits.
func (v *victim) listening() {
	v.t.Helper()
	eventually(v.t, "the program's start", func() (string, bool) { return "no address", v.base() != "" })
}
