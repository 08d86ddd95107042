package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// BenchmarkCommit interleaves commits with the floor under them, one write and one sync of the same disk, because the
// disk of a shared machine changes its mind by the minute. Figures of the project's machines are in FLOOR.md: a commit of
// one row takes 0.89 to 1.3 times a bare write and fsync.
func BenchmarkCommit(b *testing.B) {
	for _, rows := range []int{1, 100} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			dir := b.TempDir()
			s, _, err := store.Open(store.Options{Dir: filepath.Join(dir, "state")})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			f, err := os.Create(filepath.Join(dir, "floor"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			var batch store.Batch
			for n := range rows {
				batch.States = append(batch.States, state(health.Ref{Engine: "lxc", ID: fmt.Sprint("web", n)}, "why"))
			}
			page := make([]byte, 4096)
			var commits, fsyncs, datasyncs time.Duration
			timed := func(total *time.Duration, f func() error) {
				began := time.Now()
				if err := f(); err != nil {
					b.Fatal(err)
				}
				*total += time.Since(began)
			}
			for b.Loop() {
				batch.At = batch.At.Add(time.Second)
				timed(&commits, func() error { return s.Commit(b.Context(), batch) })
				timed(&fsyncs, func() error { f.Write(page); return f.Sync() })
				timed(&datasyncs, func() error { f.WriteAt(page, 0); return unix.Fdatasync(int(f.Fd())) })
			}
			b.ReportMetric(float64(b.N)/commits.Seconds(), "commits/s")
			b.ReportMetric(commits.Seconds()/fsyncs.Seconds(), "x-append+fsync")
			b.ReportMetric(commits.Seconds()/datasyncs.Seconds(), "x-overwrite+fdatasync")
			b.ReportMetric(0, "ns/op")
		})
	}
}
