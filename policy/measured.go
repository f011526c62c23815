package policy

import "time"

// Measured is what was found of a running installation, to be held against the conditions of a
// profile. Nothing in it says what ought to be: [Assess] does.
type Measured struct {
	At       time.Time
	Reviewed time.Time // `retention_reviewed` of the policy, zero for none
	Oldest   []Age     // what is oldest in each table and in the spool
	Columns  []string  // of the table of events, as the database has them
	Sinks    []string  // where records are sent to besides the store
	Remote   string    // host of a database that is not on this machine, "" for one that is
	Breaches []Breach  // of the profile's rules by the configuration
	Sites    []MeasuredSite
	Missed   map[string]string // what could not be measured: why, by a condition's id
}

// Age is when the oldest of something is from.
type Age struct {
	What   string
	Site   string // "" for all
	Oldest time.Time
}

// MeasuredSite is what was found of one site.
type MeasuredSite struct {
	Facts Facts

	// Answers of the public listener, asked as a browser asks that comes from the site.
	CookieSet   bool   // after consent a cookie was set
	CookieDays  int    // the life that the answer gave it, in days, begun ones counted
	HitCookie   string // the name of a cookie that a hit without consent was answered with
	Extended    bool   // a second consent, or a visit, set the cookie anew
	OptOutDays  int    // life of the cookie of those who object
	FirstParty  bool   // the public address is the same site to a browser
	URLSet      bool   // the public address is configured
	LeftOut     []string
	NoticeLinks bool // the notice leads to the objection
	Scripts     bool // page or form of the objection need a script
	Clicks      int  // from the notice to the objection, 0: it cannot be made there
	Dropped     bool // a hit with the cookie of the objection was answered as not counted
	Held        uint64

	// The program's own.
	Same       []string // sites at which the same person has the same id
	TruncatedV int      // bits that are left of a test address before its place is looked up

	// Out of the tables.
	Revenue   uint64   // rows with revenue in 90 days
	UserProps []string // properties in 90 days whose name says that they tell who somebody is
	Campaigns uint64   // rows with campaign tags in 90 days
	Network   int      // most bits of a stored IPv4 network, 0 where none is stored
	Masked    uint64   // hits in 30 days in which personal data was masked, or which were dropped for it
	Texts     int      // distinct addresses and titles of 30 days that were searched
	Personal  int      // those of them in which personal data is
	Smallest  uint64   // visitors of the smallest row that reports of 30 days show, 0: they show none
	Finer     []string // reports that were answered though they are finer than a day
}
