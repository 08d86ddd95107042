package engine_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// The cost of watching: CPU of this process and its children, and processes started, per poll. Run as
//
//	go test -run - -bench . ./agent/engine
func BenchmarkList(b *testing.B) {
	for _, n := range []int{2, 50} {
		b.Run(fmt.Sprintf("running=%d", n), func(b *testing.B) {
			r, i, w := lxcRig(b, rig.LXCOptions{N: n}, 0)
			live := refs(list(b, i))
			b.Run("held", func(b *testing.B) { measure(b, w, func() { list(b, i, live...) }) })
			b.Run("steady", func(b *testing.B) { measure(b, w, func() { list(b, i) }) })
			b.Run("one new life", func(b *testing.B) {
				measure(b, w, func() {
					b.StopTimer()
					r.Kill9("web1")
					r.WaitState("web1", "STOPPED", 20*time.Second)
					r.Start("web1")
					b.StartTimer()
					list(b, i, live...)
				})
			})
			b.Run("first", func(b *testing.B) {
				measure(b, w, func() { list(b, reopen(b, r.Path(), w)) })
			})
			b.Run("look", func(b *testing.B) { measure(b, w, func() { look(b, i, "web1") }) })
		})
	}
}

// The way from a death to its healing begins with this.
func BenchmarkLookAtTheDead(b *testing.B) {
	r, i, w := lxcRig(b, rig.LXCOptions{N: 1}, 0)
	was := find(b, list(b, i), "web1").Init
	r.Kill9("web1")
	r.WaitState("web1", "STOPPED", 20*time.Second)
	measure(b, w, func() {
		if s, err := i.Look(context.Background(), "web1", was); err != nil || s.State != health.Stopped {
			b.Fatal(s, err)
		}
	})
}

func measure(b *testing.B, w *watched, f func()) {
	b.Helper()
	procs, cpu := w.reads.Load(), cpuTime()
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(w.reads.Load()-procs)/float64(b.N), "processes/op")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// cpuTime is what this process and its ended children have used.
func cpuTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

func reopen(b *testing.B, path string, w *watched) *engine.Instance {
	i, err := engine.Open(engine.Spec{Engine: "lxc", Path: path}, w, nil)
	if err != nil {
		b.Fatal(err)
	}
	return i
}
