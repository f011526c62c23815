package store

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/kantarainitiative/footfall/event"
)

const benchRows = 50_000

// rawBlock holds the rows of a batch as columns, as a program would that has nothing else.
type rawBlock struct {
	columns []any
	types   []clickhouse.ColumnNameAndType // the table's own
}

// collect is a column of an insert that keeps what it is given.
type collect struct{ values reflect.Value }

func (c *collect) Append(v any) error {
	if !c.values.IsValid() {
		c.values = reflect.Zero(reflect.TypeOf(v))
	}
	c.values = reflect.AppendSlice(c.values, reflect.ValueOf(v))
	return nil
}

func (c *collect) AppendRow(v any) error {
	row := reflect.ValueOf([][]string{slices.Clone(v.([]string))})
	if !c.values.IsValid() {
		c.values = reflect.Zero(row.Type())
	}
	c.values = reflect.AppendSlice(c.values, row)
	return nil
}

func newRawBlock(b testing.TB, s *Store, batch *event.Batch) *rawBlock {
	raw := &rawBlock{}
	for _, c := range newEncoder().columns {
		var all collect
		for chunk := range slices.Chunk(monthsOf(batch.Events)[0], chunkRows) {
			if err := c.appendTo(&all, batch.Events, chunk); err != nil {
				b.Fatal(err)
			}
		}
		raw.columns = append(raw.columns, all.values.Interface())
	}
	raw.columns = append(raw.columns, slices.Repeat([]uint64{batch.ID}, len(batch.Events)))
	rows, err := s.reader.Query(context.Background(), "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = 'events'")
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var c clickhouse.ColumnNameAndType
		if err := rows.Scan(&c.Name, &c.Type); err != nil {
			b.Fatal(err)
		}
		raw.types = append(raw.types, c)
	}
	return raw
}

// insert sends the block: what clickhouse-go does at its best with the same rows.
func (raw *rawBlock) insert(ctx context.Context, s *Store) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithColumnNamesAndTypes(raw.types))
	batch, err := s.reader.PrepareBatch(ctx, insertStatement(tableEvents))
	if err != nil {
		return err
	}
	for i, c := range raw.columns {
		if err := batch.Column(i).Append(c); err != nil {
			return err
		}
	}
	return batch.Send()
}

// benchStore opens a store whose table has few parts, and the block of a raw insert.
func benchStore(b *testing.B, of backend) (*Store, *rawBlock) {
	o := of.options(b)
	s, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	if err := s.Migrate(context.Background()); err != nil {
		b.Fatal(err)
	}
	batch := testBatch(1<<20, benchRows)
	return s, newRawBlock(b, s, batch)
}

// cpuTime returns the processor time of this process and of the database's.
func cpuTime(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	total := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	for _, f := range fields[11:13] { // user and system time, in hundredths of a second
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		total += time.Duration(n) * 10 * time.Millisecond
	}
	return total
}

// BenchmarkInsertRatio inserts the same rows in turns, with the writer and raw, and
// reports the writer's speed as a part of the raw one's, measured in the same run; also by
// the processor time that both sides take, which is steadier on a busy machine.
// Run it with -benchtime 10s or so.
func BenchmarkInsertRatio(b *testing.B) {
	for _, of := range backends() {
		b.Run(of.name, func(b *testing.B) {
			s, block := benchStore(b, of)
			batch := testBatch(1<<20, benchRows)
			ctx := context.Background()
			var writer, raw []time.Duration
			var writerCPU, rawCPU time.Duration
			one := func(writes bool) {
				start, cpu := time.Now(), cpuTime(b, of.pid())
				if writes {
					batch.ID++
					if err := s.Write(ctx, batch); err != nil {
						b.Fatal(err)
					}
					writer = append(writer, time.Since(start))
					writerCPU += cpuTime(b, of.pid()) - cpu
				} else {
					if err := block.insert(ctx, s); err != nil {
						b.Fatal(err)
					}
					raw = append(raw, time.Since(start))
					rawCPU += cpuTime(b, of.pid()) - cpu
				}
			}
			one(true) // warm up
			one(false)
			writer, raw, writerCPU, rawCPU = nil, nil, 0, 0
			for n := 0; b.Loop(); n++ {
				one(n%2 == 0)
				one(n%2 != 0)
			}
			// Medians: the server merges parts at times of its own.
			slices.Sort(writer)
			slices.Sort(raw)
			w, r := writer[len(writer)/2].Seconds(), raw[len(raw)/2].Seconds()
			b.ReportMetric(r/w, "writer/raw")
			b.ReportMetric(float64(rawCPU)/float64(writerCPU), "cpu-writer/raw")
			b.ReportMetric(benchRows/w, "writer-rows/s")
			b.ReportMetric(benchRows/r, "raw-rows/s")
		})
	}
}

func BenchmarkRawInsert(b *testing.B) {
	for _, of := range backends() {
		b.Run(of.name, func(b *testing.B) {
			s, raw := benchStore(b, of)
			b.ReportAllocs()
			for b.Loop() {
				if err := raw.insert(context.Background(), s); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*benchRows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkWriter(b *testing.B) {
	for _, of := range backends() {
		b.Run(of.name, func(b *testing.B) {
			s, _ := benchStore(b, of)
			batch := testBatch(1<<20, benchRows)
			b.ReportAllocs()
			for b.Loop() {
				batch.ID++
				if err := s.Write(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*benchRows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkEncode measures what the writer adds to a raw insert: turning events into
// columns, as far as the client, which copies them.
func BenchmarkEncode(b *testing.B) {
	batch := testBatch(1, benchRows)
	rows := monthsOf(batch.Events)[0]
	encoder := newEncoder()
	b.ReportAllocs()
	for b.Loop() {
		for chunk := range slices.Chunk(rows, chunkRows) {
			for _, c := range encoder.columns {
				if err := c.appendTo(nothing{}, batch.Events, chunk); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.ReportMetric(float64(b.N*benchRows)/b.Elapsed().Seconds(), "rows/s")
}

// nothing is a column that takes what it is given nowhere.
type nothing struct{}

func (nothing) Append(any) error    { return nil }
func (nothing) AppendRow(any) error { return nil }
