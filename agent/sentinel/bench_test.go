package sentinel

import (
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// BenchmarkNotice kills processes one after the other and measures to the event in the reader's hands, beside a bare poll
// on a pidfd in a thread of its own, in turns.
func BenchmarkNotice(b *testing.B) {
	for _, sensor := range []string{sensorPidfd, sensorProc} {
		b.Run(sensor, func(b *testing.B) {
			s := newBench(b, Options{Force: sensor})
			s.run()
			var ours, bare []time.Duration
			for b.Loop() {
				h := start(b, "sit", 0)
				s.watch(ref(1), h)
				killed := time.Now()
				h.signal()
				<-s.Events()
				ours = append(ours, time.Since(killed))
				h.kill()
				bare = append(bare, barePoll(b))
			}
			m, f := median(ours), median(bare)
			b.ReportMetric(float64(m.Microseconds()), "µs/notice")
			b.ReportMetric(float64(f.Microseconds()), "µs/bare-poll")
			b.ReportMetric(float64(m)/float64(f), "x-floor")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func barePoll(b *testing.B) time.Duration {
	h := start(b, "sit", 0)
	defer h.kill()
	fd, err := unix.PidfdOpen(h.pid(), 0)
	must(b, err)
	defer func() { _ = unix.Close(fd) }()
	told := make(chan time.Time)
	go func() {
		for {
			if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); n > 0 || err != unix.EINTR {
				told <- time.Now()
				return
			}
		}
	}()
	time.Sleep(time.Millisecond) // the thread above is waiting in the kernel
	killed := time.Now()
	h.signal()
	return (<-told).Sub(killed)
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkWho reads /proc as it is at a death; how many processes it held is printed beside.
func BenchmarkWho(b *testing.B) {
	for range 100 {
		start(b, "sit", 0, "lxc-start", "-n", "bench")
	}
	procs := 0
	entries, err := os.ReadDir("/proc")
	must(b, err)
	for _, e := range entries {
		if e.Name()[0] >= '0' && e.Name()[0] <= '9' {
			procs++
		}
	}
	for b.Loop() {
		Who(nil, stops("bench"))
	}
	b.ReportMetric(float64(procs), "processes")
}

// BenchmarkHolds and BenchmarkInNetns are on the way of every poll and every inside probe.
func BenchmarkHolds(b *testing.B) {
	s := newBench(b, Options{})
	p := s.watch(ref(1), start(b, "sit", 0))
	for b.Loop() {
		s.Holds(ref(1), p)
	}
}

func BenchmarkInNetns(b *testing.B) {
	h := start(b, "sit", 0)
	p := health.Process{PID: h.pid()}
	for b.Loop() {
		must(b, InNetns(p.PID, func() error { return nil }))
	}
}
