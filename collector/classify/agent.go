package classify

import (
	"hash/maphash"

	"github.com/maypok86/otter/v2"
)

// Devices, as in [Agent.Device].
const (
	Desktop = "Desktop"
	Mobile  = "Mobile"
	Tablet  = "Tablet"
	TV      = "TV"
	Console = "Console"
)

// Agent is what a User-Agent says of its sender. The names are Plausible's; "" is unknown.
type Agent struct {
	Browser        string // "Chrome", "Safari", "Microsoft Edge", "Mobile App", …
	BrowserVersion string // major.minor: "131.0"
	OS             string // "Windows", "Mac", "GNU/Linux", "iOS", "Android", "Chrome OS", …
	OSVersion      string // "10", "10.15", "17.1"
	Device         string // Desktop, Mobile, Tablet, TV, Console

	// Bot is "" for a person's browser and else the kind of robot: one of the Bot… constants.
	Bot string

	// MailProxy says that a mail provider's machine asks on behalf of a reader, so that the
	// address and the agent say nothing of them. Such an agent is a robot on web pages (Bot is
	// [BotMail]) and an opened message on an email pixel, which a robot of any other kind is not.
	MailProxy bool
}

// cachedAgents is how many agents are remembered, about 200 bytes each.
const cachedAgents = 16384

// maxAgent is how much of a User-Agent is looked at, in bytes. Real ones stay below
// 700, in-app ones included.
const maxAgent = 1024

// Agents classifies User-Agents.
type Agents struct {
	seed  maphash.Seed
	cache *otter.Cache[uint64, *Agent]
	table *agentTable
	bots  *robots
}

// NewAgents reads the embedded tables.
func NewAgents() (*Agents, error) { return agentsWith(cachedAgents) }

func agentsWith(cacheSize int) (*Agents, error) {
	table, err := loadAgentTable()
	if err != nil {
		return nil, err
	}
	bots, err := loadRobots()
	if err != nil {
		return nil, err
	}
	cache, err := otter.New(&otter.Options[uint64, *Agent]{MaximumSize: cacheSize})
	if err != nil {
		return nil, err
	}
	return &Agents{seed: maphash.MakeSeed(), cache: cache, table: table, bots: bots}, nil
}

// Lookup classifies ua, of which it keeps nothing. It allocates only for an agent that is
// not in the cache.
func (a *Agents) Lookup(ua []byte) Agent {
	if len(ua) > maxAgent {
		ua = ua[:maxAgent]
	}
	// A seeded hash: the cache must neither hold agents nor be a list to test them against.
	key := maphash.Bytes(a.seed, ua)
	if got, ok := a.cache.GetIfPresent(key); ok {
		return *got
	}
	got := a.classify(ua)
	a.cache.Set(key, &got)
	return got
}

// classify is Lookup without the cache.
func (a *Agents) classify(ua []byte) Agent {
	var s scan
	s.run(ua, a.table)
	got := s.agent(a.table)
	got.Bot, got.MailProxy = a.bots.kind(&s, &got)
	return got
}

// WithScreen refines what the User-Agent leaves open by the width of the screen in CSS
// pixels; 0 is unknown. An iPad says it is a Mac unless told otherwise, and a telephone that
// asks for the desktop's page says it is a Linux computer.
func (a Agent) WithScreen(width int) Agent {
	switch {
	case width <= 0:
	case a.OS == "Mac" && a.Browser == "Safari" && isIPadWidth(width):
		a.OS, a.OSVersion, a.Device = "iOS", "", Tablet
	case a.OS == "Android" && a.Device == Tablet && width < 600:
		a.Device = Mobile
	case a.OS == "GNU/Linux" && a.Device == Desktop && width < 500:
		a.Device = Mobile
	case a.Device == "" && width < 600:
		a.Device = Mobile
	case a.Device == "" && width < 1100:
		a.Device = Tablet
	case a.Device == "":
		a.Device = Desktop
	}
	return a
}

// isIPadWidth reports whether width is that of an iPad, which iOS gives for the upright
// device however it is held. No Mac's screen is as narrow.
func isIPadWidth(width int) bool {
	switch width {
	case 744, 768, 810, 820, 834, 1024, 1032:
		return true
	}
	return false
}
