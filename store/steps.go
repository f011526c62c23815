package store

import (
	"time"

	"github.com/kantarainitiative/footfall/event"
)

// TimeLabels returns the labels of every step of a time dimension in the query's period, in
// order and as rows name them, whether a row has that step or not.
func TimeLabels(q Query, dimension string) []string {
	if dimension == "time" {
		dimension = q.TimeDimension()
	}
	var labels []string
	add := func(v uint32) {
		l := stepLabel(dimension, v)
		if n := len(labels); n == 0 || labels[n-1] != l {
			labels = append(labels, l)
		}
	}
	if dimension == "time:hour" {
		for t := q.From.In(q.Zone); t.Before(q.To); {
			_, off := t.Zone()
			wall := t.Unix() + int64(off)
			add(uint32(wall - wall%3600))
			t = t.Add(time.Duration(3600-wall%3600) * time.Second) // the next hour on the wall's clock
		}
		return labels
	}
	first := event.DayOf(q.From.In(q.Zone))
	last := event.DayOf(q.To.Add(-time.Second).In(q.Zone))
	for d := first; d <= last; d++ {
		switch dimension {
		case "time:week":
			monday := d - event.Day((d.Time().Weekday()+6)%7)
			add(uint32(max(monday, first)))
		case "time:month":
			add(uint32(d) - uint32(d.Time().Day()-1))
		default:
			add(uint32(d))
		}
	}
	return labels
}
