package engine

import (
	"context"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
)

const benchRows = 60_000

// benchBlock is a Native block like the writer's: numbers, texts of few values, arrays.
func benchBlock() []byte {
	var (
		site, page   = new(proto.ColStr).LowCardinality(), new(proto.ColStr).LowCardinality()
		visitor, seq proto.ColUInt64
	)
	keys := proto.NewArray(new(proto.ColStr).LowCardinality())
	for i := range benchRows {
		site.Append("example.org")
		page.Append(benchPages()[i%5])
		visitor.Append(uint64(i) * 0x9E3779B97F4A7C15)
		seq.Append(uint64(i))
		keys.Append([]string{"plan", "size"})
	}
	var b proto.Buffer
	err := proto.Block{Columns: 5, Rows: benchRows}.EncodeRawBlock(&b, 0, []proto.InputColumn{
		{Name: "site", Data: site}, {Name: "page", Data: page}, {Name: "visitor", Data: &visitor}, {Name: "seq", Data: &seq}, {Name: "keys", Data: keys}})
	if err != nil {
		panic(err)
	}
	return b.Buf
}

func benchPages() [5]string {
	return [5]string{"/", "/about", "/pricing", "/blog/a-long-title-of-an-article", "/contact"}
}

const (
	benchDDL = `CREATE TABLE bench (site LowCardinality(String), page LowCardinality(String), visitor UInt64, seq UInt64,
	keys Array(LowCardinality(String))) ENGINE = MergeTree ORDER BY (site, visitor)`
	benchInsert = "INSERT INTO bench (site, page, visitor, seq, keys)"
	benchFill   = "INSERT INTO bench SELECT 'example.org', '/p' || toString(number % 50), number * 7919, number, [] FROM numbers(1000000)"
	benchCount  = "SELECT count() FROM bench WHERE page = '/p7'"
)

// BenchmarkBridge goes through clickhouse-go, the socket and the bridge: blocks of 60,000 rows (the
// batch's own making is not timed), and a count over a million rows.
func BenchmarkBridge(b *testing.B) {
	c := connect(b, start(b))
	b.Run("insert", func(b *testing.B) {
		run(b, c, benchDDL)
		defer run(b, c, "DROP TABLE bench")
		for b.Loop() {
			b.StopTimer()
			batch, err := c.PrepareBatch(context.Background(), benchInsert)
			if err != nil {
				b.Fatal(err)
			}
			for i := range benchRows {
				if err := batch.Append("example.org", benchPages()[i%5], uint64(i)*0x9E3779B97F4A7C15, uint64(i), []string{"plan", "size"}); err != nil {
					b.Fatal(err)
				}
			}
			b.StartTimer()
			if err := batch.Send(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("count", func(b *testing.B) {
		run(b, c, benchDDL)
		run(b, c, benchFill)
		for b.Loop() {
			if n := number(b, c, benchCount); n != 20_000 {
				b.Fatal(n)
			}
		}
	})
}

// BenchmarkLibrary is the floor: the same by calls on the library in the benchmark's own process.
func BenchmarkLibrary(b *testing.B) {
	s, l := benchSession(b)
	defer l.shutdown()
	defer s.close()
	must := func(b *testing.B, err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("insert", func(b *testing.B) {
		must(b, s.exec(benchDDL))
		block := benchBlock()
		for b.Loop() {
			in, err := s.insert([]byte(benchInsert))
			must(b, err)
			must(b, in.write(block))
			must(b, in.finish())
		}
		b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		must(b, s.exec("DROP TABLE bench"))
	})
	b.Run("count", func(b *testing.B) {
		must(b, s.exec(benchDDL))
		must(b, s.exec(benchFill))
		for b.Loop() {
			must(b, s.exec(benchCount))
		}
	})
}

// benchSession loads the library here, which can be done for one directory in a process's life.
func benchSession(b *testing.B) (*session, *lib) {
	b.Helper()
	l, err := loadLibrary(testLibrary(b))
	if err != nil {
		b.Fatal(err)
	}
	s, err := l.open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	return s, l
}

// BenchmarkReframe is what the bridge itself does with a result.
func BenchmarkReframe(b *testing.B) {
	block := benchBlock()
	b.SetBytes(int64(len(block)))
	b.ReportAllocs()
	w := new(countWriter)
	for b.Loop() {
		if err := reframe(w, block, 54460); err != nil {
			b.Fatal(err)
		}
	}
}

type countWriter struct{ n int }

func (w *countWriter) Write(p []byte) (int, error) { w.n += len(p); return len(p), nil }
