package store

import (
	"context"
	"errors"
	"strconv"
)

// figureKeys says which groups the statement figures.sql counts.
type figureKeys struct {
	visits   []fragment // (group, value), aggregates over a visit's rows
	events   []fragment // on a page view or event
	unlinked []fragment // on one without a visit
	engaged  []fragment // on engagement
	exit     bool       // a key on rows needs the visit's exit page
	steps    int        // the group of steps that are shorter than a day, 0: none
}

func pair(id uint8, value fragment) fragment {
	return around("("+strconv.Itoa(int(id))+", ", value, ")")
}

// add adds a dimension's groups, those that may not be told together as one.
func (k *figureKeys) add(id uint8, d dimension, sc scope, first fragment, shown *fewShown) {
	told := func(f fragment) fragment { return shown.wrap([]fragment{f})[0] }
	if d.kind == dimGoal {
		k.events = append(k.events, pair(id, around("if(kind = 2, ", told(frag("toString(name)")), ", '')")))
		for _, g := range sc.goals {
			if shown != nil && shown.noRest {
				break // only with what else a row is a goal of could its people be told
			}
			k.events = append(k.events, pair(id, frag("if(kind = 1 AND match(page, ?), ?, '')", goalPattern(g), g)))
		}
		return
	}
	if !d.visit {
		k.events = append(k.events, pair(id, told(d.rowValue(sc))))
		return
	}
	k.visits = append(k.visits, pair(id, told(d.visitValue(sc, first))))
	if d.kind == dimExitPage {
		k.unlinked = append(k.unlinked, pair(id, told(frag("''")))) // it is not known where they left
		return
	}
	k.unlinked = append(k.unlinked, pair(id, told(d.rowValue(sc))))
}

// figureBranches writes what figures.sql adds up, from events.
func figureBranches(site string, p period, fs []Filter, k figureKeys) ([]fragment, error) {
	if p.raw != nil && len(p.raw) == 0 {
		return nil, nil
	}
	days, within := p.days(), p.within()
	data := map[string]any{"Site": site, "Days": days, "Source": frag("events"), "GoalID": goalID, "Steps": k.steps, "Unlinked": false}
	if usesOf(fs...).exit || k.exit {
		source, err := statement("exit_pages", map[string]any{"ExitPage": exitPage, "Site": site, "Days": days})
		if err != nil {
			return nil, err
		}
		data["Source"] = source
	}
	var out []fragment
	var failed error
	add := func(name string, keys []fragment) {
		if len(keys) == 0 {
			return
		}
		data["Keys"] = keys
		f, err := statement(name, data)
		failed = errors.Join(failed, err)
		out = append(out, f)
	}
	where, counted, entered := visitConditions(fs, within, false)
	data["Counted"], data["Entered"] = counted, entered
	if data["Where"], failed = pickVisits(site, days, fs, where, counted); failed != nil {
		return nil, failed
	}
	add("figures_visits", k.visits)
	data["Where"] = allOf(within, conditions(fs, false))
	add("figures_events", k.events)
	add("figures_engagement", k.engaged)
	data["Unlinked"] = true
	add("figures_events", k.unlinked)
	return out, failed
}

// figure is a row of figures.sql.
type figure struct {
	dim   uint8
	value string
	Totals
}

func (r *reporter) figures(ctx context.Context, data map[string]any) ([]figure, error) {
	rows, err := r.query(ctx, "figures", data)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []figure
	for rows.Next() {
		var f figure
		var depth, engaged, engagedVisits uint64
		if err := rows.Scan(&f.dim, &f.value, &f.Visitors, &f.Visits, &f.PageViews, &f.Events,
			&f.Started, &f.Entries, &f.VisitViews, &f.Bounces, &f.Duration, &depth, &engaged, &engagedVisits); err != nil {
			return nil, r.wrap("figures", err)
		}
		out = append(out, f)
	}
	return out, r.wrap("figures", rows.Err())
}
