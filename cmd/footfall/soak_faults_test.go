package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// faultKind is a way to hurt.
type faultKind int

const (
	killProgram faultKind = iota
	stopProgram
	killStore
	pauseStore
	fillDisk
	cutUp         // the connection to the server, after some bytes of a request
	cutDown       // after some bytes of an answer
	killProgramAt // when some bytes have passed to the server
	killServerAt
	pauseAndKill // the server stops where it is, and the program is killed: its queries are left behind
	faultKinds
)

var faultNames = [faultKinds]string{"kill program", "SIGTERM program", "kill store", "pause store", "fill disk", "cut request",
	"cut answer", "kill program mid-request", "kill server mid-request", "pause store and kill program"}

// fault is one thing to be done.
type fault struct {
	after time.Duration // since the fault before was done
	kind  faultKind
	lasts time.Duration
	bytes int64
}

func (f fault) String() string {
	return fmt.Sprintf("%s, for %s or after %d bytes", faultNames[f.kind], f.lasts.Round(time.Millisecond), f.bytes)
}

// newSchedule makes the faults of a run: each kind once in a random order, then whatever comes.
func newSchedule(r *rand.Rand, lasts time.Duration, kinds []faultKind) (all []fault) {
	order := r.Perm(len(kinds))
	for at, i := time.Duration(0), 0; at < lasts; i++ {
		f := fault{after: time.Duration(50+r.IntN(1000)) * time.Millisecond, kind: kinds[r.IntN(len(kinds))]}
		if i < len(order) {
			f.kind = kinds[order[i]]
		}
		f.lasts = time.Duration(50+math.Exp(r.Float64()*math.Log(2500))) * time.Millisecond // mostly short, up to 2.5 s
		f.bytes = int64(math.Exp(r.Float64() * math.Log(150_000)))
		if f.kind == cutDown {
			f.bytes = int64(math.Exp(r.Float64() * math.Log(5_000)))
		}
		all = append(all, f)
		at += f.after
	}
	return all
}

// kinds are the faults that can be done to v.
func (v *victim) kinds() []faultKind {
	kinds := []faultKind{killProgram, stopProgram, killStore, pauseStore, pauseAndKill}
	if v.mounted {
		kinds = append(kinds, fillDisk)
	}
	if v.proxy != nil {
		kinds = append(kinds, cutUp, cutDown, killProgramAt, killServerAt)
	}
	return kinds
}

// run does the faults one after another until the time is over, and starts the program whenever
// it is not there.
func (v *victim) run(faults []fault, lasts time.Duration) {
	v.waitUntil(v.elapsed() + time.Second) // something is to be lost
	for _, f := range faults {
		v.waitUntil(min(v.elapsed()+f.after, lasts))
		if v.elapsed() >= lasts {
			return
		}
		v.do(f)
	}
}

// waitUntil lets time pass, and does what is due meanwhile.
func (v *victim) waitUntil(at time.Duration) {
	for {
		v.tick()
		left := at - v.elapsed()
		if left <= 0 {
			return
		}
		time.Sleep(min(left, 10*time.Millisecond))
	}
}

// tick ends what has lasted long enough, keeps the disk full while it is to be, and starts the
// program again.
func (v *victim) tick() {
	select {
	case f := <-v.happened:
		v.note("it came to: " + f.String())
		v.applied[f.kind]++
		if f.kind == killServerAt {
			v.later(f.lasts, "server up", v.startServer)
		}
	default:
	}
	for i := 0; i < len(v.heals); i++ {
		if h := v.heals[i]; h.at <= v.elapsed() {
			v.heals = append(v.heals[:i], v.heals[i+1:]...)
			v.note("end of: " + h.what)
			h.do()
			i = -1
		}
	}
	if v.filling {
		v.fill()
	}
	v.keepRunning()
}

// later does something after a while.
func (v *victim) later(d time.Duration, what string, do func()) {
	v.heals = append(v.heals, healing{v.elapsed() + d, what, do})
}

type healing struct {
	at   time.Duration
	what string
	do   func()
}

func (v *victim) note(what string) { v.diary = append(v.diary, v.since()+" "+what) }

func (v *victim) do(f fault) {
	v.note(f.String())
	switch f.kind {
	case killProgram:
		v.killProgram()
	case stopProgram:
		v.stopProgram()
	case killStore:
		if !v.killStore(f.lasts) {
			return
		}
	case pauseStore:
		if !v.pauseStore(f.lasts) {
			return
		}
	case pauseAndKill:
		if !v.pauseStore(f.lasts) {
			return
		}
		time.Sleep(f.lasts / 4)
		v.killProgram()
	case fillDisk:
		if v.filling {
			return
		}
		v.filling = true
		for !v.full {
			v.fill()
			time.Sleep(10 * time.Millisecond)
		}
		v.later(f.lasts, "full disk", v.empty)
	case cutUp, cutDown, killProgramAt, killServerAt:
		v.arm(f)
		return // it counts when it happens
	}
	v.applied[f.kind]++
}

// arm has the proxy do f when its bytes have passed.
func (v *victim) arm(f fault) {
	cmd := v.process()
	v.proxy.arm(f.kind == cutDown, f.bytes, func() (cut bool) {
		switch f.kind {
		case killProgramAt:
			cmd.Process.Kill()
		case killServerAt:
			v.server.Kill()
		}
		v.happened <- f
		return f.kind == cutUp || f.kind == cutDown
	})
}

// counts tells how often each fault was done.
func (v *victim) counts() string {
	var b strings.Builder
	for k, n := range v.applied {
		if n > 0 {
			fmt.Fprintf(&b, "%s %d, ", faultNames[k], n)
		}
	}
	return strings.TrimSuffix(b.String(), ", ")
}

func (v *victim) kills() int {
	return v.applied[killProgram] + v.applied[killStore] + v.applied[killProgramAt] + v.applied[killServerAt] + v.applied[pauseAndKill]
}
