package hostexec

import (
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// BenchmarkOverhead prints what Read and Change cost beside a bare os/exec of the same command, interleaved: medians in
// milliseconds, and their ratio.
func BenchmarkOverhead(b *testing.B) {
	h := New(Options{Dir: b.TempDir(), Place: PlaceDirect})
	argv := []string{"true"}
	var bare, read, change []float64
	n := 0
	for b.Loop() {
		n++
		bare = append(bare, milliseconds(b, func() error { return exec.Command(argv[0]).Run() }))
		read = append(read, milliseconds(b, func() error { return h.Read(b.Context(), Command{Argv: argv}).Err() }))
		change = append(change, milliseconds(b, func() error {
			return h.Change(b.Context(), start(fmt.Sprint(n)), Command{Argv: argv}).Err()
		}))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(bare), "bare-ms")
	b.ReportMetric(median(read)/median(bare), "read/bare")
	b.ReportMetric(median(change)/median(bare), "change/bare")
	b.ReportMetric(median(change)-median(bare), "change-overhead-ms")
}

func milliseconds(b *testing.B, f func() error) float64 {
	started := time.Now()
	if err := f(); err != nil {
		b.Fatal(err)
	}
	return float64(time.Since(started).Nanoseconds()) / 1e6
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
