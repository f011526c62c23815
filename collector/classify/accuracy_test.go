package classify

import (
	"path/filepath"
	"testing"

	"github.com/kantarainitiative/footfall/collector/classify/internal/lists"
)

// modules is where `make` installs the npm packages of the lists.
const modules = "../../node_modules"

// tally counts right answers and prints the share of them.
type tally struct{ right, all int }

func (c *tally) add(ok bool) {
	c.all++
	if ok {
		c.right++
	}
}

func (c *tally) percent() float64 { return 100 * float64(c.right) / float64(max(c.all, 1)) }

func (c *tally) atLeast(t *testing.T, what string, percent float64) {
	t.Helper()
	t.Logf("%-28s %6.2f %% of %d", what, c.percent(), c.all)
	if c.all == 0 || c.percent() < percent {
		t.Errorf("%s: %.2f %% right, want at least %v %%", what, c.percent(), percent)
	}
}

// TestAccuracyOnVisitors measures on agents as common as they are on the web.
func TestAccuracyOnVisitors(t *testing.T) {
	a := newAgents(t)
	var browser, version, system, device, person tally
	for _, r := range rows(t, "visitors.tsv", 5) {
		got := a.Lookup([]byte(r[4]))
		browser.add(got.Browser == r[0])
		if r[1] != "*" {
			version.add(got.BrowserVersion == r[1])
		}
		system.add(got.OS == r[2])
		device.add(got.Device == r[3])
		person.add(got.Bot == "" && !got.MailProxy)
	}
	browser.atLeast(t, "visitors: browser", 99)
	version.atLeast(t, "visitors: browser version", 99)
	system.atLeast(t, "visitors: system", 99)
	device.atLeast(t, "visitors: device", 99)
	person.atLeast(t, "visitors: taken for people", 99.5)
}

// TestAccuracyOnTheLongTail measures on twenty years of browsers, each counted once.
func TestAccuracyOnTheLongTail(t *testing.T) {
	a := newAgents(t)
	var browser, version, system, systemVersion, person tally
	for _, r := range rows(t, "uap.tsv", 5) {
		got := a.Lookup([]byte(r[4]))
		if r[0] != "*" {
			browser.add(got.Browser == r[0])
			if got.Browser == r[0] && r[1] != "*" {
				version.add(got.BrowserVersion == r[1])
			}
		}
		person.add(got.Bot == "") // not all of them are: the list has robots that uap-core does not know
		if r[2] != "*" {
			system.add(got.OS == r[2])
			if got.OS == r[2] && r[3] != "*" {
				systemVersion.add(got.OSVersion == r[3])
			}
		}
	}
	browser.atLeast(t, "long tail: browser", 97)
	person.atLeast(t, "long tail: taken for people", 97)
	version.atLeast(t, "long tail: browser version", 98)
	system.atLeast(t, "long tail: system", 98)
	systemVersion.atLeast(t, "long tail: system version", 75) // what uap-core has of these is its odd cases
}

// TestRecallOnCrawlers runs on the instances of the list that is half of the tables: it says that the
// order of the steps loses none of them.
func TestRecallOnCrawlers(t *testing.T) {
	list, err := lists.Crawlers(filepath.Join(modules, "crawler-user-agents"))
	if err != nil {
		t.Fatalf("%v (`npm ci` installs the packages)", err)
	}
	a := newAgents(t)
	var robot tally
	for _, c := range list {
		for _, ua := range c.Instances {
			robot.add(a.Lookup([]byte(ua)).Bot != "")
		}
	}
	robot.atLeast(t, "crawler list: robots found", 99)
}

// TestRecallOnUnseenRobots runs on lists that the tables were not made from.
func TestRecallOnUnseenRobots(t *testing.T) {
	a := newAgents(t)
	var uap, woothee tally
	for _, r := range rows(t, "robots.tsv", 2) {
		found := a.Lookup([]byte(r[1])).Bot != ""
		if r[0] == "woothee" {
			woothee.add(found)
		} else {
			uap.add(found)
		}
	}
	uap.atLeast(t, "uap-core: robots found", 95)
	woothee.atLeast(t, "woothee: robots found", 95)
}
