package evidence

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkCapture takes everything the kernel gives of a real container, without engine commands, with logs of 256 KiB,
// and seals it. It prints how long an action was held up (hold, median and p99) and the CPU of a whole capture.
func BenchmarkCapture(b *testing.B) {
	rig.Require(b, "root", "lxc", "busybox")
	l := rig.NewLXC(b, rig.LXCOptions{N: 1})
	p := health.Process{PID: l.InitPID(l.Name(0))}
	cgroup := CgroupOf(p)
	dir := b.TempDir()
	var logs []Item
	for _, name := range []string{"lxc.log", "console.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), logText(256<<10), 0o600); err != nil {
			b.Fatal(err)
		}
		logs = append(logs, Item{Name: name, Path: filepath.Join(dir, name), Volatile: name == "console.log"})
	}
	r := newRecorder(b)
	var hold []time.Duration
	var size int64
	began := cpu(b)
	for b.Loop() {
		start := time.Now()
		c := r.Begin(request(slices.Concat(Builtin(p, cgroup), logs)...))
		c.Volatile(b.Context())
		hold = append(hold, time.Since(start))
		s, err := c.Seal(b.Context(), story(start))
		if err != nil {
			b.Fatal(err)
		}
		size = s.Size
		_ = os.Remove(s.Path)
	}
	b.ReportMetric(float64((cpu(b)-began).Microseconds())/1000/float64(b.N), "cpu-ms/op")
	slices.Sort(hold)
	b.ReportMetric(float64(hold[len(hold)/2].Microseconds())/1000, "hold-p50-ms")
	b.ReportMetric(float64(hold[len(hold)*99/100].Microseconds())/1000, "hold-p99-ms")
	b.ReportMetric(float64(size)/1024, "KiB")
}

// BenchmarkSeal packs 1.1 MiB of logs: redacted, described, digested, written and fsynced, beside archive/zip alone in
// memory.
func BenchmarkSeal(b *testing.B) {
	var items []Item
	for n := range 11 {
		items = append(items, Item{Name: fmt.Sprintf("log%d.log", n), Data: logText(100 << 10), Cut: KeepTail})
	}
	for _, level := range []int{1, 6} {
		b.Run(fmt.Sprintf("level%d", level), func(b *testing.B) {
			r := newRecorder(b, func(o *Options) { o.Tuning.Level = level })
			var size int64
			for b.Loop() {
				c := r.Begin(request(items...))
				s, err := c.Seal(b.Context(), Report{})
				if err != nil {
					b.Fatal(err)
				}
				size = s.Size
				_ = os.Remove(s.Path)
			}
			b.ReportMetric(float64(size)/1024, "KiB")
		})
		b.Run(fmt.Sprintf("plain-zip-level%d", level), func(b *testing.B) {
			var out bytes.Buffer
			for b.Loop() {
				out.Reset()
				plainZip(b, &out, items, level)
			}
			b.ReportMetric(float64(out.Len())/1024, "KiB")
		})
	}
	b.Run("redaction", func(b *testing.B) {
		text := logText(1100 << 10)
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			redactPatterns(text)
		}
	})
}

func plainZip(b *testing.B, out io.Writer, items []Item, level int) {
	b.Helper()
	w := zip.NewWriter(out)
	w.RegisterCompressor(zip.Deflate, func(o io.Writer) (io.WriteCloser, error) { return flate.NewWriter(o, level) })
	for _, i := range items {
		f, err := w.Create(i.Name)
		if err == nil {
			_, err = f.Write(i.Data)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// logText is a log of about n bytes that compresses as real ones do: same words, other numbers.
func logText(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "2026-11-24T03:%02d:%02d.%06d host%d app[%d]: request %x from 10.%d.%d.%d took %d ms: status %d token=abc%d\n",
			i/60%60, i%60, i*7919%1000000, i%7, 1000+i%13, i*2654435761, i%256, i*31%256, i*17%256, i*13%900, 200+i%5*100, i)
	}
	return b.Bytes()
}
