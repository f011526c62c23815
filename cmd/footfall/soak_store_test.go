package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/event"
	"github.com/kantarainitiative/footfall/store/engine"
)

// soakRow is a row of the table of events.
type soakRow struct {
	n                       int
	site, name, page, title string
	prop                    string
	day                     event.Day
	at                      time.Time
	batch                   uint64
}

// dayWanted is the date of the row's time on its site's calendar.
func (r soakRow) dayWanted() event.Day {
	for _, s := range soakSites {
		if s.domain == r.site {
			if zone, err := time.LoadLocation(s.zone); err == nil {
				return event.DayOf(r.at.In(zone))
			}
		}
	}
	return 0
}

// stored reads all events from the database itself. With the embedded engine the program
// is stopped for that, and started again.
func (v *victim) stored() []soakRow {
	v.t.Helper()
	if v.server != nil {
		o, err := clickhouse.ParseDSN(v.server.URL(v.database))
		if err != nil {
			v.t.Fatal(err)
		}
		return v.read(o)
	}
	v.stopProgram()
	libs, _ := filepath.Glob("../../.parts/node_modules/@chdb/lib-*/libchdb.*")
	o := engine.Options{Executable: binary(v.t), DataDir: v.data}
	if len(libs) > 0 {
		o.LibPath = libs[0]
	}
	e, err := engine.Start(o)
	if err != nil {
		v.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := e.Ready(ctx); err != nil {
		v.t.Fatal(err)
	}
	rows := v.read(e.ClickhouseOptions())
	if err := e.Stop(ctx); err != nil {
		v.t.Error(err)
	}
	v.keepRunning()
	return rows
}

func (v *victim) read(o *clickhouse.Options) (out []soakRow) {
	v.t.Helper()
	c, err := clickhouse.Open(o)
	if err != nil {
		v.t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rows, err := c.Query(ctx, "SELECT site, name, page, title, prop_values[indexOf(prop_keys, 'n')], toUInt16(day), toUInt32(time), batch_id FROM events")
	if err != nil {
		v.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var r soakRow
		var day uint16
		var at uint32
		if err := rows.Scan(&r.site, &r.name, &r.page, &r.title, &r.prop, &day, &at, &r.batch); err != nil {
			v.t.Fatal(err)
		}
		r.day, r.at = event.Day(day), time.Unix(int64(at), 0)
		if _, err := fmt.Sscanf(r.page, "/n/%dx", &r.n); err != nil {
			v.t.Errorf("a row with the page %q", r.page)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		v.t.Fatal(err)
	}
	return out
}

// checkReports compares what staff are shown with the rows.
func (v *victim) checkReports(rows []soakRow) {
	v.t.Helper()
	want := map[string][2]float64{}
	for _, r := range rows {
		w := want[r.site]
		if r.name == "pageview" {
			w[0]++
		} else {
			w[1]++
		}
		want[r.site] = w
	}
	for v.base() == "" {
		v.tick()
		time.Sleep(20 * time.Millisecond)
	}
	v.staff = *v.staffAt.Load()
	for _, s := range soakSites {
		eventually(v.t, "the report of "+s.domain, func() (string, bool) {
			views, err := v.tryQuery(`{"site_id":"` + s.domain + `","metrics":["pageviews"],"date_range":"all"}`)
			if err != nil {
				return err.Error(), false
			}
			events, err := v.tryQuery(`{"site_id":"` + s.domain + `","metrics":["events"],"date_range":"all","filters":[["is","event:name",["Soak"]]]}`)
			if err != nil {
				return err.Error(), false
			}
			got := [2]float64{views[""][0], events[""][0]}
			return fmt.Sprintf("%v page views and custom events, the rows are %v", got, want[s.domain]), got == want[s.domain]
		})
	}
}
