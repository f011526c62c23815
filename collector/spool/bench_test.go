package spool

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kantarainitiative/footfall/event"
)

type discard struct{}

func (discard) Write(context.Context, *event.Batch) error { return nil }

// BenchmarkAppend is the cost of a hit with 64 appenders, while the segments are drained, beside the floor: one write of the
// same bytes.
func BenchmarkAppend(b *testing.B) {
	e := hit(3)
	rec := appendRecord(nil, e)
	b.Run("write floor", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "x"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		b.SetBytes(int64(len(rec)))
		for offset := int64(0); b.Loop(); offset = (offset + int64(len(rec))) % (16 << 20) {
			if _, err := f.WriteAt(rec, offset); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, sync := range map[string]time.Duration{"sync 200ms": 200 * time.Millisecond, "sync 0": 0} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, func(o *Options) { o.Sync = sync; o.MaxAge = time.Second; o.MaxBytes = 4 << 30 })
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error)
			go func() { done <- r.Run(ctx, discard{}) }()
			b.SetParallelism(64 / 2)
			b.SetBytes(int64(len(rec)))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := r.Append(e); err != nil {
						b.Error(err)
						return
					}
				}
			})
			cancel()
			<-done
		})
	}
}
