package store

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// Bounds of a query's filters.
const (
	maxFilterDepth = 16
	maxFilters     = 200
	maxFilterBytes = 16 << 10 // all values together: they are in a statement several times, and a server reads none over 256 KiB
)

// QueryError says which part of a query cannot be answered, and why.
type QueryError struct {
	Part string // "metrics", "dimensions", "filters", "order_by", "date_range", "pagination"
	Msg  string
}

func (e *QueryError) Error() string { return e.Part + ": " + e.Msg }

func badQuery(part, format string, args ...any) error {
	return &QueryError{part, fmt.Sprintf(format, args...)}
}

// uses tells which kinds of dimension a filter compares.
type uses struct{ event, visit, exit, page, goal, goalOrProp bool }

func (u uses) or(v uses) uses {
	return uses{u.event || v.event, u.visit || v.visit, u.exit || v.exit, u.page || v.page,
		u.goal || v.goal, u.goalOrProp || v.goalOrProp}
}

// usesOf tells what a checked filter compares.
func usesOf(fs ...Filter) uses {
	var u uses
	for _, f := range fs {
		if len(f.Filters) > 0 {
			u = u.or(usesOf(f.Filters...))
			continue
		}
		d, _ := dimensionOf(f.Dimension)
		u = u.or(uses{
			event: !d.visit, visit: d.visit, exit: d.kind == dimExitPage, page: d.name == "event:page",
			goal: d.kind == dimGoal, goalOrProp: d.kind == dimGoal || d.kind == dimProp,
		})
	}
	return u
}

// checkFilters refuses what no statement can be made of.
func checkFilters(fs []Filter) error {
	count, bytes := 0, 0
	var walk func(f Filter, depth int) error
	walk = func(f Filter, depth int) error {
		if count++; count > maxFilters || depth > maxFilterDepth {
			return badQuery("filters", "at most %d filters, %d deep", maxFilters, maxFilterDepth)
		}
		switch f.Op {
		case "and", "or", "not":
			if len(f.Filters) == 0 {
				return badQuery("filters", "%q needs filters to combine", f.Op)
			}
			if f.Op == "not" && len(f.Filters) != 1 {
				return badQuery("filters", `"not" takes one filter`)
			}
			for _, c := range f.Filters {
				if err := walk(c, depth+1); err != nil {
					return err
				}
			}
			return nil
		case "is", "is_not", "contains", "contains_not", "matches", "matches_not":
		default:
			return badQuery("filters", "unknown operator %q", f.Op)
		}
		d, ok := dimensionOf(f.Dimension)
		if !ok {
			return badQuery("filters", "unknown dimension %q", f.Dimension)
		}
		if d.kind == dimTime {
			return badQuery("filters", "%q cannot be filtered by, narrow the date range", f.Dimension)
		}
		if d.kind == dimPropKey {
			return badQuery("filters", "%q cannot be filtered by, name the property: %sKEY", f.Dimension, propPrefix)
		}
		if len(f.Filters) > 0 {
			return badQuery("filters", "%q takes values, not filters", f.Op)
		}
		if len(f.Values) == 0 {
			return badQuery("filters", "%q on %q needs at least one value", f.Op, f.Dimension)
		}
		for _, v := range f.Values {
			if bytes += len(v); bytes > maxFilterBytes {
				return badQuery("filters", "at most %d bytes of values", maxFilterBytes)
			}
			if strings.HasPrefix(f.Op, "matches") {
				if err := checkPattern(v); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, f := range fs {
		if err := walk(f, 1); err != nil {
			return err
		}
	}
	return nil
}

// checkPattern accepts what both Go and the servers' RE2 understand.
func checkPattern(p string) error {
	if strings.ContainsRune(p, 0) {
		return badQuery("filters", "a regular expression holds no zero byte")
	}
	if _, err := syntax.Parse(p, syntax.Perl); err != nil {
		return badQuery("filters", "%q is not a regular expression: %v", p, err)
	}
	return nil
}

// pageGoals lists the page goals ("Visit /path") that top-level filters name.
func pageGoals(fs []Filter) []string {
	var out []string
	seen := map[string]bool{}
	for _, f := range fs {
		if f.Dimension != "event:goal" || f.Op != "is" {
			continue
		}
		for _, v := range f.Values {
			if strings.HasPrefix(v, goalPrefix) && !seen[v] {
				seen[v] = true
				out = append(out, v)
			}
		}
	}
	return out
}

const goalPrefix = "Visit /"

// goalPattern is the regular expression of a page goal: * and ** stand for any text.
func goalPattern(goal string) string {
	parts := strings.Split(strings.TrimPrefix(goal, "Visit "), "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return "^" + strings.Join(parts, ".*") + "$"
}

// conditions is a filter's condition on one row of events, all of fs.
// With pageIsEntry a page means the page on which the visit began.
func conditions(fs []Filter, pageIsEntry bool) fragment {
	out := make([]fragment, len(fs))
	for i, f := range fs {
		out[i] = condition(f, pageIsEntry)
	}
	return allOf(out...)
}

func condition(f Filter, pageIsEntry bool) fragment {
	switch f.Op {
	case "and":
		return conditions(f.Filters, pageIsEntry)
	case "or":
		out := make([]fragment, len(f.Filters))
		for i, c := range f.Filters {
			out[i] = condition(c, pageIsEntry)
		}
		return anyOf(out...)
	case "not":
		return negated(condition(f.Filters[0], pageIsEntry))
	}
	op, negative := strings.CutSuffix(f.Op, "_not")
	d, _ := dimensionOf(f.Dimension)
	if d.kind == dimProp {
		return propCondition(d, op, negative, f)
	}
	var c fragment
	switch {
	case d.kind == dimGoal:
		c = goalCondition(op, f)
	case d.kind == dimCountryName:
		c = compare(countryName("toString(country)"), op, f.Values, f.IgnoreCase)
	case pageIsEntry && d.name == "event:page":
		c = compare(frag("entry_page"), op, f.Values, f.IgnoreCase)
	default:
		values := f.Values
		if op == "is" && d.empty != "" {
			for _, v := range f.Values {
				if v == d.empty || v == notSet || v == directNone {
					values = append([]string{""}, f.Values...)
				}
			}
		}
		c = compare(frag(d.column), op, values, f.IgnoreCase)
	}
	if negative {
		return negated(c)
	}
	return c
}

// compare is a comparison of one expression with any of values.
func compare(expr fragment, op string, values []string, ignoreCase bool) fragment {
	if ignoreCase && op != "matches" {
		expr = around("lowerUTF8(toString(", expr, "))")
	}
	placeholder := "?"
	if ignoreCase {
		placeholder = "lowerUTF8(?)"
	}
	if op == "is" {
		if !ignoreCase {
			return joined(" IN ", expr, listOf(values))
		}
		f := listOf(values)
		f.sql = strings.ReplaceAll(f.sql, "?", placeholder)
		return joined(" IN ", expr, f)
	}
	var out []fragment
	for _, v := range values {
		switch {
		case v == "": // everything contains and matches nothing
			out = append(out, frag("1"))
		case op == "contains":
			out = append(out, joined("", frag("position("), expr, frag(", "+placeholder+") > 0", v)))
		case ignoreCase:
			out = append(out, joined("", frag("match("), expr, frag(", ?)", "(?i)"+v)))
		default:
			out = append(out, joined("", frag("match("), expr, frag(", ?)", v)))
		}
	}
	return anyOf(out...)
}

// propCondition compares a property. As in Plausible, an event without the property has
// the value "(none)" for is and is_not, and fails the other operators, negated or not.
func propCondition(d dimension, op string, negative bool, f Filter) fragment {
	has := frag("has(prop_keys, ?)", d.key)
	c := compare(propValue(d.key), op, f.Values, f.IgnoreCase)
	if op != "is" {
		if negative {
			c = negated(c)
		}
		return allOf(has, c)
	}
	c = allOf(has, c)
	for _, v := range f.Values {
		if v == none {
			c = anyOf(c, joined("", propValue(d.key), frag(" = ''")))
			break
		}
	}
	if negative {
		return negated(c)
	}
	return c
}

// goalCondition: an event meets a goal by its name, a page view by its page.
func goalCondition(op string, f Filter) fragment {
	out := []fragment{allOf(frag("kind = 2"), compare(frag("name"), op, f.Values, f.IgnoreCase))}
	if op == "is" {
		for _, v := range f.Values {
			if strings.HasPrefix(v, goalPrefix) {
				p := goalPattern(v)
				if f.IgnoreCase {
					p = "(?i)" + p
				}
				out = append(out, allOf(frag("kind = 1"), frag("match(page, ?)", p)))
			}
		}
	}
	return anyOf(out...)
}
