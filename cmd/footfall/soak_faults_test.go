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
	fillServer   // the server's disk
	breakFiles   // the spool's files fail
	moveClock    // by seconds, minutes or hours, forwards or back
	toMidnight   // to seconds before a site's midnight, and later back over it
	leapClock    // by weeks, which the visitor keys do not believe, and back
	loseClock    // by years: the program does not start until it is right again
	faultKinds
)

var faultNames = [faultKinds]string{"kill program", "SIGTERM program", "kill store", "pause store", "fill disk", "cut request",
	"cut answer", "kill program mid-request", "kill server mid-request", "pause store and kill program",
	"fill server's disk", "break files", "move clock", "clock to midnight", "leap of clock", "lose clock"}

// fault is one thing to be done.
type fault struct {
	after time.Duration // since the fault before was done
	kind  faultKind
	lasts time.Duration
	bytes int64
	files diskFault     // of breakFiles
	step  time.Duration // of moveClock and leapClock
	site  int           // of toMidnight: whose
}

func (f fault) String() string {
	s := fmt.Sprintf("%s, for %s", faultNames[f.kind], f.lasts.Round(time.Millisecond))
	switch f.kind {
	case breakFiles:
		s += ": " + f.files.String()
	case moveClock, leapClock:
		s += ": by " + f.step.String()
	case toMidnight:
		s += " of " + soakSites[f.site].zone
	case cutUp, cutDown, killProgramAt, killServerAt:
		s += fmt.Sprintf(", after %d bytes", f.bytes)
	}
	return s
}

// newSchedule makes the faults of a run: each kind once in a random order, then whatever comes. They
// are a function of r's seed alone, and so is which file operations fail. What a seed cannot bring back
// is where in its work the program, the database and the senders are when a fault comes.
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
		f.files = 1 + diskFault(r.IntN(int(diskFaults)-1))
		f.step = time.Duration(math.Exp(r.Float64()*math.Log(40_000))*1000) * time.Millisecond // a second to half a day
		if f.kind == leapClock {
			f.step = time.Duration(8+r.IntN(60)) * 24 * time.Hour
		} else if r.IntN(2) == 0 {
			f.step = -f.step
		}
		f.site = r.IntN(len(soakSites))
		all = append(all, f)
		at += f.after
	}
	return all
}

// kinds are the faults that can be done to v.
func (v *victim) kinds() []faultKind {
	kinds := []faultKind{killProgram, stopProgram, killStore, pauseStore, pauseAndKill, breakFiles, moveClock, toMidnight, leapClock, loseClock}
	if v.disk.dir != "" {
		kinds = append(kinds, fillDisk)
	}
	if v.serverDisk.dir != "" {
		kinds = append(kinds, fillServer)
	}
	if v.proxy != nil {
		kinds = append(kinds, cutUp, cutDown, killProgramAt, killServerAt)
	} else {
		kinds = append(kinds, cutUp, cutDown)
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
	if n := v.panel.cuts.Load(); n > v.cuts {
		v.cuts = n
		v.note("it came to: " + v.cutting.String())
		v.applied[v.cutting.kind]++
	}
	for i := 0; i < len(v.heals); i++ {
		if h := v.heals[i]; h.at <= v.elapsed() {
			v.heals = append(v.heals[:i], v.heals[i+1:]...)
			v.note("end of: " + h.what)
			h.do()
			i = -1
		}
	}
	for _, d := range []*soakDisk{&v.disk, &v.serverDisk} {
		if d.filling {
			d.fill(v.t)
		}
	}
	v.wasHurt = v.wasHurt || v.disk.filling || v.panel.broken.Load() != 0
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
		v.wasHurt = true
		if !v.disk.fillUp(v.t) {
			return
		}
		v.later(f.lasts, "full disk", func() { v.disk.empty(v.t) })
	case fillServer:
		if !v.serverDisk.fillUp(v.t) {
			return
		}
		v.later(f.lasts, "full server's disk", func() { v.serverDisk.empty(v.t) })
	case breakFiles:
		if v.panel.broken.Load() != 0 {
			return
		}
		v.wasHurt = true
		v.panel.broken.Store(uint64(f.files))
		v.later(f.lasts, "broken files", func() { v.panel.broken.Store(0) })
	case moveClock:
		step := f.step
		if now := v.clockAhead(); now.Abs() > 2*24*time.Hour && now > 0 == (step > 0) {
			step = -step // it stays within some days
		}
		v.moveClock(step)
	case toMidnight:
		v.moveClock(v.untilMidnight(f.site) - f.lasts/2)
		if f.bytes%2 == 0 {
			v.later(f.lasts, "past midnight: back over it", func() { v.moveClock(-f.lasts - time.Minute) })
		}
	case leapClock:
		v.moveClock(f.step)
		v.later(f.lasts, "leap", func() { v.moveClock(-f.step) })
	case loseClock:
		if !v.loseClock() {
			return
		}
	case cutUp, cutDown, killProgramAt, killServerAt:
		v.arm(f)
		return // it counts when it happens
	}
	v.applied[f.kind]++
}

// arm has the proxy do f when its bytes have passed.
func (v *victim) arm(f fault) {
	if v.proxy == nil { // the victim does it itself
		v.cutting = f
		if v.panel.cut.Store(f.bytes + 1); f.kind == cutDown {
			v.panel.cut.Store(-f.bytes - 1)
		}
		return
	}
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
