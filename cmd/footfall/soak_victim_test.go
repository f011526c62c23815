package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/store/storetest"
)

// victim is the program with its database and its disk, which are hurt. Its methods are the
// test's goroutine's, but for base, since and process.
type victim struct {
	*program
	seed       uint64
	began      time.Time
	server     *storetest.Server // nil: the embedded engine
	proxy      *soakProxy        // before server
	panel      *panel
	panelEnv   string
	disk       soakDisk // of the data directory
	serverDisk soakDisk // of server
	database   string   // on server
	sync       string   // of the spool; "": another at each start
	keep       bool     // the spool keeps what is stored
	launches   int
	config     string

	public  atomic.Pointer[string] // nil: not known
	staffAt atomic.Pointer[string] // set before public
	current atomic.Pointer[exec.Cmd]
	dead    chan struct{} // closed when the current process has ended

	moves     []clockMove
	mostAhead time.Duration // of the clock, at any time

	wasHurt  bool // the disk was perhaps full at some time of this process, or its files failed
	stopping bool // it was asked to
	heals    []healing
	happened chan fault // what the proxy did
	cutting  fault      // of the engine's connection: the last that was armed
	cuts     uint64     // that came
	applied  [faultKinds]int
	diary    []string
	ended    int             // starts that a full or failing disk did not allow
	cramped  map[string]bool // addresses of processes whose disk was full or failed at some time
}

// newVictim makes a victim whose data directory is a disk of its own if small is set, and if that
// is permitted.
func newVictim(t *testing.T, seed uint64, small bool) *victim {
	t.Helper()
	var disk soakDisk
	if small {
		disk = newSoakDisk(t)
	}
	data := disk.dir
	if data == "" {
		data = filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	v := &victim{
		program: &program{t: t, data: data, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}},
		seed:    seed, began: time.Now(), happened: make(chan fault, 1000),
		config: writeConfig(t, soakConfig("200ms", "1h")),
		disk:   disk,
	}
	v.panel, v.panelEnv = newPanel(t)
	v.panel.seed.Store(seed)
	v.args = []string{"--config", v.config}
	binary(t) // its building is not to count
	t.Cleanup(func() {
		if v.cmd != nil {
			v.end()
		}
		if t.Failed() {
			out := v.out.String()
			t.Logf("end of the program's output:\n%s", out[max(0, len(out)-20_000):])
		}
	})
	return v
}

func (v *victim) elapsed() time.Duration { return time.Since(v.began) }

func (v *victim) since() string { return fmt.Sprintf("%.3f", v.elapsed().Seconds()) }

// base is the address of the program, "" while it has none.
func (v *victim) base() string {
	if s := v.public.Load(); s != nil {
		return *s
	}
	return ""
}

func (v *victim) process() *exec.Cmd { return v.current.Load() }

// launch starts the program in some time zone and with some setting of spool.sync, and does not wait:
// it can be hurt while it starts.
func (v *victim) launch() {
	v.launches++
	v.wasHurt = v.disk.filling || v.panel.broken.Load() != 0
	v.panel.seed.Store(v.seed + uint64(v.launches))
	r := rand.New(rand.NewPCG(v.seed, uint64(1000+v.launches)))
	zone := []string{"", "UTC", "Asia/Kolkata", "Pacific/Kiritimati", "America/Anchorage"}[r.IntN(5)]
	sync := []string{"200ms", "always", "20ms"}[r.IntN(3)]
	keep := []string{"1h", "1h", "0s"}[r.IntN(3)]
	if v.sync != "" {
		sync = v.sync
	}
	v.keep = keep != "0s"
	if err := os.WriteFile(v.config, []byte(soakConfig(sync, keep)), 0o600); err != nil {
		v.t.Fatal(err)
	}
	v.note(fmt.Sprintf("start %d, TZ %q, sync %s, keep %s", v.launches, zone, sync, keep))
	self, err := os.Executable()
	if err != nil {
		v.t.Fatal(err)
	}
	v.believeClock()
	cmd := exec.Command(self, append([]string{"serve", "--data", v.data, "--listen", "127.0.0.1:0", "--staff", "127.0.0.1:0"}, v.args...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "TZ="+zone, v.panelEnv)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	fmt.Fprintf(&v.out, "-- start %d at %s\n", v.launches, v.since())
	cmd.Stderr = &v.out
	cmd.WaitDelay = 5 * time.Second // an engine that was stopped holds no pipe of ours, but should one
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.cmd = cmd
	v.current.Store(cmd)
	dead := make(chan struct{})
	v.dead = dead
	go func() {
		defer close(dead)
		var said strings.Builder
		r := bufio.NewReader(stdout)
		for {
			line, err := r.ReadString('\n')
			said.WriteString(line)
			if strings.Contains(line, "Ctrl-C stops") {
				public := group(collecting, said.String())
				staff := group(dashboards, said.String())
				v.staffAt.Store(&staff)
				v.public.Store(&public)
			}
			if err != nil {
				break
			}
		}
		cmd.Wait()
	}()
}

// keepRunning starts the program again if it has ended.
func (v *victim) keepRunning() {
	if v.wasHurt && v.base() != "" {
		if v.cramped == nil {
			v.cramped = map[string]bool{}
		}
		v.cramped[v.base()] = true
	}
	select {
	case <-v.dead:
	default:
		return
	}
	v.public.Store(nil)
	state := v.cmd.ProcessState
	ws := state.Sys().(syscall.WaitStatus)
	killed := ws.Signaled() && ws.Signal() == syscall.SIGKILL
	switch {
	case killed || v.stopping:
	case v.wasHurt:
		v.ended++
		v.note("the program does not start on a hurt disk: " + state.String())
		time.Sleep(100 * time.Millisecond)
	default:
		v.t.Errorf("at %s the program ended by itself: %s", v.since(), state)
	}
	v.stopping = false
	v.launch()
}

// killProgram ends the program as a crash does.
func (v *victim) killProgram() {
	v.cmd.Process.Kill()
	<-v.dead
	v.public.Store(nil)
}

// end ends the program, and waits until its engine is gone as well.
func (v *victim) end() {
	pid := v.enginePid()
	v.killProgram()
	for end := time.Now().Add(10 * time.Second); pid != 0 && syscall.Kill(pid, 0) == nil && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
}

// stopProgram asks the program to stop.
func (v *victim) stopProgram() {
	v.stopping = true
	begin := time.Now()
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return // it has just ended
	}
	select {
	case <-v.dead:
	case <-time.After(20 * time.Second):
		v.t.Errorf("at %s the program does not stop", v.since())
		v.killProgram()
	}
	v.note(fmt.Sprintf("stopped after %s: %s", time.Since(begin).Round(time.Millisecond), v.cmd.ProcessState))
	v.public.Store(nil)
}

// enginePid is the embedded engine's process, 0 if there is none.
func (v *victim) enginePid() int { return enginePid(v.t, v.program) }

// killStore kills the database. A server comes back after a while; an engine is its
// supervisor's affair.
func (v *victim) killStore(away time.Duration) bool {
	if v.server == nil {
		pid := v.enginePid()
		return pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil
	}
	if v.server.Pid() == 0 {
		return false
	}
	v.server.Kill()
	v.later(away, "server down", v.startServer)
	return true
}

func (v *victim) startServer() {
	if v.server.Pid() != 0 {
		return
	}
	if v.serverDisk.filling { // it would not start
		v.later(100*time.Millisecond, "server down, its disk is full", v.startServer)
		return
	}
	if err := v.server.Restart(); err != nil {
		v.t.Fatal(err)
	}
}

// pauseStore stops the database where it is, and lets it go on later.
func (v *victim) pauseStore(lasts time.Duration) bool {
	if v.server != nil {
		if v.server.Pause() != nil {
			return false
		}
		v.later(lasts, "pause", func() { v.server.Resume() })
		return true
	}
	pid := v.enginePid()
	if pid == 0 || syscall.Kill(pid, syscall.SIGSTOP) != nil {
		return false
	}
	v.later(lasts, "pause", func() { syscall.Kill(pid, syscall.SIGCONT) })
	return true
}

// heal ends everything that hurts.
func (v *victim) heal() {
	if v.proxy != nil {
		v.proxy.disarm()
	}
	v.panel.cut.Store(0)
	for v.tick(); len(v.heals) > 0 || len(v.happened) > 0; v.tick() {
		for i := range v.heals {
			v.heals[i].at = 0
		}
	}
	v.settleClock()
	if v.server != nil {
		v.startServer()
	}
}

// drain waits until the program says that all is stored.
func (v *victim) drain() {
	deadline := time.Now().Add(time.Minute)
	for said := ""; ; {
		v.tick()
		if base := v.base(); base != "" {
			m, err := v.metrics()
			said = fmt.Sprint(m["footfall_spool_events"], " events in the spool, ", err)
			if err == nil && m["footfall_spool_events"] == 0 && m["footfall_spool_bytes"] == 0 {
				return
			}
		}
		if time.Now().After(deadline) {
			v.t.Fatalf("a minute after the last fault not all is stored: %s", said)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// metrics reads the program's metrics that have no labels.
func (v *victim) metrics() (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", *v.staffAt.Load()+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := v.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return nil, fmt.Errorf("metrics: %s", res.Status)
	}
	out := map[string]float64{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		var name string
		var value float64
		if n, _ := fmt.Sscan(lines.Text(), &name, &value); n == 2 {
			out[name] = value
		}
	}
	return out, nil
}

// replay hands what is stored and was kept to the store once more, which must have all of it.
func (v *victim) replay() {
	v.t.Helper()
	if !v.keep {
		return
	}
	out, errs, status := footfall(v.t, "", append([]string{"replay", "--data", v.data}, v.args...)...)
	if v.t.Logf("replay: %s", out); status != 0 || !strings.Contains(out, "the database lacked 0\n") {
		v.t.Errorf("replay: status %d, %s%s", status, out, errs)
	}
}
