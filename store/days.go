package store

import (
	"context"
)

// rolled is the closed days of a period that are read from their rollup.
type rolled struct {
	days   []dayRange
	builds []uint64
}

func (x rolled) any() bool { return len(x.builds) > 0 }

// figures is the branch of figures.sql that reads the groups dims, with step (if it has
// any text) for the steps of a series.
func (x rolled) figures(site, dims string, step fragment) (fragment, error) {
	return statement("figures_daily", map[string]any{
		"Site": site, "Dims": dims, "Days": daysIn(x.days),
		"Builds":  joined(" IN ", frag("build"), listOf(x.builds)),
		"Stepped": step.sql != "", "Step": step, "StepID": stepID,
	})
}

func (o *overview) route(ctx context.Context, r *reporter) error { return nil }

