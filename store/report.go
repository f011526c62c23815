package store

import "time"

// This file holds what reports are asked with and answered by: the types that the
// dashboard and the Stats API share with the store. Names of metrics and dimensions are
// those of the Stats API ("visitors", "visit:source", "event:props:plan", "time:day").

// Filter restricts a report. It is either a comparison (Op "is", "is_not", "contains",
// "contains_not", "matches", "matches_not" with a Dimension and Values) or a
// combination (Op "and", "or", "not" with Filters).
type Filter struct {
	Op         string
	Dimension  string
	Values     []string // any of them satisfies the comparison
	IgnoreCase bool
	Filters    []Filter
}

// Order is one term of an ordering: a metric or a dimension of the same query.
type Order struct {
	By   string
	Desc bool
}

// Query asks for Metrics by Dimensions, over events with From <= time < To.
type Query struct {
	Site       string
	Zone       *time.Location // the site's own
	From, To   time.Time      // half open; whole days are the rule, any instant is allowed
	Now        time.Time      // the present: what is later has no rows, today is still open
	Metrics    []string
	Dimensions []string
	Filters    []Filter // all of them hold
	OrderBy    []Order  // empty: first metric descending, time ascending; ties always by dimensions
	Limit      int      // 0: 10000
	Offset     int
	TotalRows  bool // also count the rows that Limit cut
	LongIDs    bool // the site's visitor ids outlive a day: visitors of several days are counted, not added up

	MinVisitors int // rows with fewer visitors are part of [Few], views with fewer are withheld; 0: none. [Reports] sets it
}

// Row is one row of a report. A metric without a value is nil: the scroll depth, time on
// page or percentage of nothing. As in Plausible, rates and averages of no visits are 0.
type Row struct {
	Dimensions []string
	Metrics    []*float64
}

// Result answers a Query.
type Result struct {
	Rows      []Row
	TotalRows int               // with Query.TotalRows only
	Warnings  map[string]string // metric: what its reader must know
	// Capped tells of each dimension on how many days it had more than [RollupCap] values, those
	// beyond together as [Other]; nil for none.
	Capped map[string]int

	MinVisitors int    // that the answer was made under, 0: none
	Withheld    string // [WithheldView]: no row (without dimensions: no metric) has a value; [WithheldRows]; else ""
}

// Totals are the headline figures of a period.
type Totals struct {
	Visitors, Visits, PageViews, Events uint64 // Events: page views and custom events
	Bounces                             uint64
	Duration                            uint64 // seconds, all visits together

	// What the per-visit figures are divided by. Hits without a visit are page views but
	// no visit's; under a filter on the page, bounces are counted among the visits that
	// began there; by the hour, a visit counts as a whole in the hour of its first row.
	VisitViews uint64 // page views of Started: views per visit is VisitViews / Started
	Started    uint64 // visits that Duration and VisitViews are of
	Entries    uint64 // visits among which Bounces are counted

	Withheld bool // too few visitors to be told: all figures are 0
}

// Point is one step of a series. Time is the step's first instant in the site's zone.
type Point struct {
	Time time.Time
	Totals
}

// PanelRow is one row of a panel: a value of a dimension and its figures. Bounces and
// Duration are those of the row's visits, for dimensions of visits only.
type PanelRow struct {
	Value     string
	Label     string // what people read, where it differs from Value (a country's name)
	Visitors  uint64
	Visits    uint64
	PageViews uint64
	Events    uint64
	Bounces   uint64
	Duration  uint64

	Withheld bool // only page views and events are told: nearly all visitors are in the row, and too few are not
	NoEvents bool // Events is withheld, and 0: less PageViews it would tell of too few visitors
}

// Panel is the top of one dimension, most visitors first, ties by value.
type Panel struct {
	Dimension string // as in the Stats API: "visit:source"
	Rows      []PanelRow
	More      bool // there are rows beyond these
	Capped    int  // days with more than RollupCap values, those beyond together as Other
}

// EmailRow is one campaign: how often its pixel was fetched, and by how many ids of the day.
type EmailRow struct {
	Campaign string
	Message  string
	Opens    uint64 // fetches of the pixel
	Openers  uint64 // different ids of the day among them
}

// OverviewQuery asks for a whole dashboard at once.
type OverviewQuery struct {
	Site             string
	Zone             *time.Location
	From, To         time.Time
	PrevFrom, PrevTo time.Time // zero: no comparison
	Now              time.Time
	Interval         string // step of the series: "time:hour", "time:day", "time:week", "time:month"
	Filters          []Filter
	Panels           []string // dimensions wanted
	Limit            int      // rows a panel
	LongIDs          bool     // as in Query
	MinVisitors      int      // as in Query
}

// Overview is a whole dashboard.
type Overview struct {
	Totals, Previous       Totals
	Series, PreviousSeries []Point // every step of the period, empty ones included
	Panels                 []Panel // in the order asked for
	Email                  []EmailRow
	HasData                bool // the site has stored events at all
	MinVisitors            int  // that the answer was made under, 0: none
}
