package probes

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
)

// The floor of ../shared/FLOOR.md, brought along: bare GETs and dials in bursts by 16 workers.
const (
	benchTargets = 1000
	benchWorkers = 16
)

// BenchmarkHTTP compares a burst of 1,000 http probes with a burst of bare net/http GETs without keep-alive.
func BenchmarkHTTP(b *testing.B) {
	web, _ := benchServer(b)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	floor := func(i int) error {
		resp, err := client.Get("http://" + benchAddr(i).String() + ":" + strconv.Itoa(web) + "/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	compare(b, floor, benchProbes(b, Spec{Kind: HTTP, Port: web}))
}

// BenchmarkTCP compares a burst of 1,000 tcp probes with a burst of bare dials.
func BenchmarkTCP(b *testing.B) {
	_, raw := benchServer(b)
	floor := func(i int) error {
		c, err := net.Dial("tcp", benchAddr(i).String()+":"+strconv.Itoa(raw))
		if err != nil {
			return err
		}
		return c.Close()
	}
	compare(b, floor, benchProbes(b, Spec{Kind: TCP, Port: raw}))
}

// benchAddr gives each target an address of its own, so that no burst runs out of ports.
func benchAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{127, 9, byte(i >> 8), byte(i)}) }

func benchProbes(b *testing.B, s Spec) func(int) error {
	s.Name, s.Timeout = "bench", 10*time.Second
	run := make([]func() Result, benchTargets)
	for i := range run {
		s := s
		s.Target = benchAddr(i).String()
		p, err := New(s)
		if err != nil {
			b.Fatal(err)
		}
		g := Guest{Addrs: []health.Addr{{Prefix: netip.PrefixFrom(benchAddr(i), 8)}}}
		run[i] = func() Result { return Run(b.Context(), s, p, g) }
	}
	return func(i int) error {
		if r := run[i](); r.Outcome != health.Pass {
			return fmt.Errorf("%s: %s", r.Outcome, r.Detail)
		}
		return nil
	}
}

// compare runs bursts of both, interleaved, and reports medians of CPU and wall time per probe, and the ratios.
func compare(b *testing.B, floor, ours func(int) error) {
	burst(b, floor)
	burst(b, ours)
	var fc, fw, oc, ow []float64
	for b.Loop() {
		c, w := burst(b, floor)
		fc, fw = append(fc, c), append(fw, w)
		c, w = burst(b, ours)
		oc, ow = append(oc, c), append(ow, w)
	}
	b.ReportMetric(median(fc), "floor-cpu-µs")
	b.ReportMetric(median(oc), "cpu-µs")
	b.ReportMetric(median(oc)/median(fc), "cpu-ratio")
	b.ReportMetric(median(ow)/median(fw), "wall-ratio")
	b.ReportMetric(0, "ns/op")
}

// burst carries out one of each target and gives microseconds of CPU and of wall time per target.
func burst(b *testing.B, one func(int) error) (cpu, wall float64) {
	jobs := make(chan int, benchTargets)
	for i := range benchTargets {
		jobs <- i
	}
	close(jobs)
	var wg sync.WaitGroup
	used, began := usage(), time.Now()
	for range benchWorkers {
		wg.Go(func() {
			for i := range jobs {
				if err := one(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return float64((usage() - used).Nanoseconds()) / 1000 / benchTargets, float64(time.Since(began).Nanoseconds()) / 1000 / benchTargets
}

func usage() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// benchServer starts the servers in a process of their own and gives their ports.
func benchServer(b *testing.B) (web, raw int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PROBES_SERVE=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	if _, err := fmt.Fscan(stdout, &web, &raw); err != nil {
		b.Fatal(err)
	}
	return web, raw
}
