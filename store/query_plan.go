package store

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// plan is a checked query, ready to be written as statements.
type plan struct {
	q       Query
	scope   scope
	dims    []dimension
	metrics []metric
	order   []string
	parts   part
	period  period
	rolled  rolled
	few     *fewView  // with MinVisitors only
	shown   *fewShown // of few, for the dimensions
}

func planQuery(q Query) (*plan, error) {
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	if err := checkPeriod(q.From, q.To); err != nil {
		return nil, err
	}
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	if q.Limit < 1 || q.Limit > maxLimit {
		return nil, badQuery("pagination", "the limit lies between 1 and %d", maxLimit)
	}
	if q.Offset < 0 {
		return nil, badQuery("pagination", "the offset is not negative")
	}
	if err := checkFilters(q.Filters); err != nil {
		return nil, err
	}
	p := &plan{q: q, scope: scope{q.Zone, q.From, q.To, pageGoals(q.Filters)}, period: periodOf(q.Zone, q.From, q.To)}
	if err := p.takeDimensions(); err != nil {
		return nil, err
	}
	if err := p.takeMetrics(); err != nil {
		return nil, err
	}
	return p, p.takeOrder()
}

func (p *plan) takeDimensions() error {
	if len(p.q.Dimensions) > maxDimensions {
		return badQuery("dimensions", "at most %d", maxDimensions)
	}
	p.q.Dimensions = slices.Clone(p.q.Dimensions)
	for i, name := range p.q.Dimensions {
		if name == "time" {
			name = p.q.TimeDimension()
			p.q.Dimensions[i] = name
		}
		d, ok := dimensionOf(name)
		if !ok {
			return badQuery("dimensions", "unknown dimension %q", name)
		}
		if slices.Contains(p.q.Dimensions[:i], name) {
			return badQuery("dimensions", "%q is there twice", name)
		}
		p.dims = append(p.dims, d)
	}
	return nil
}

func (p *plan) takeMetrics() error {
	names := p.q.Metrics
	if len(names) == 0 || len(names) > maxMetrics {
		return badQuery("metrics", "between 1 and %d", maxMetrics)
	}
	used := usesOf(p.q.Filters...)
	for _, d := range p.dims {
		used.page = used.page || d.name == "event:page"
		used.goal = used.goal || d.kind == dimGoal
	}
	for _, name := range names {
		m, ok := metricOf(name)
		if !ok {
			return badQuery("metrics", "unknown metric %q", name)
		}
		if strings.HasSuffix(name, "conversion_rate") && !used.goal {
			return badQuery("metrics", "%q needs a filter or a dimension event:goal", name)
		}
		if m.parts&partEngagement != 0 && !used.page {
			return badQuery("metrics", "%q needs a filter or a dimension event:page", name)
		}
		if m.parts&partVisits != 0 {
			for _, d := range p.dims {
				if !d.visit && d.kind != dimTime && d.name != "event:page" && d.name != "event:hostname" {
					return badQuery("metrics", "%q is a figure of visits and cannot be had by %q", name, d.name)
				}
			}
		}
		p.parts |= m.parts
		p.metrics = append(p.metrics, m)
	}
	if p.parts&(partEngagement|partGroup) != 0 {
		p.parts |= partEvents // says which rows there are
	}
	return nil
}

// takeOrder makes the order total: what was asked, then all dimensions.
func (p *plan) takeOrder() error {
	terms := slices.Clone(p.q.OrderBy)
	if len(terms) == 0 {
		for _, d := range p.dims {
			if d.kind == dimTime {
				terms = append(terms, Order{By: d.name})
			}
		}
		terms = append(terms, Order{By: p.q.Metrics[0], Desc: true})
	}
	for _, name := range p.q.Dimensions {
		terms = append(terms, Order{By: name})
	}
	seen := map[string]bool{}
	for _, t := range terms {
		if t.By == "time" {
			for _, d := range p.dims {
				if d.kind == dimTime {
					t.By = d.name
					break
				}
			}
		}
		direction := " ASC"
		if t.Desc {
			direction = " DESC"
		}
		if seen[t.By] {
			continue
		}
		seen[t.By] = true
		if i := slices.Index(p.q.Dimensions, t.By); i >= 0 {
			p.order = append(p.order, "d"+strconv.Itoa(i)+direction)
		} else if i := slices.Index(p.q.Metrics, t.By); i >= 0 {
			m := "m" + strconv.Itoa(i)
			p.order = append(p.order, "("+m+" < 0) ASC", m+direction) // no value: last
		} else {
			return badQuery("order_by", "%q is neither a metric nor a dimension of the query", t.By)
		}
	}
	return nil
}

// warnings are the remarks that a reader of the figures needs.
func (p *plan) warnings() map[string]string {
	pageFilter := slices.ContainsFunc(p.q.Filters, func(f Filter) bool { return f.Dimension == "event:page" })
	byPage := slices.Contains(p.q.Dimensions, "event:page")
	w := map[string]string{}
	for _, m := range p.metrics {
		switch {
		case m.parts&partVisits != 0 && byPage:
			w[m.name] = "a page's visits are those that began on it"
		case m.name == "bounce_rate" && pageFilter:
			w[m.name] = "counts the visits that began on a page of the filter"
		}
	}
	if len(w) == 0 {
		return nil
	}
	return w
}
