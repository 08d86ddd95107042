package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/disk"
	"github.com/shirou/gopsutil/v3/load"
	"github.com/shirou/gopsutil/v3/mem"
)

// maxVitals bounds the text of Vitals in bytes.
const maxVitals = 16 << 10

// Vitals gives how the host fares, as text for the evidence: load, memory, pressure, limits of the kernel, local file
// systems with inodes, and the processes that hold the most memory and have used the most CPU. Some 5 to 10 ms with some
// hundred processes, 16 KiB at most. What cannot be read is named in the text and again in the error, and never keeps the
// rest from being said; parts that ctx leaves no time for are named, too.
func Vitals(ctx context.Context) ([]byte, error) {
	var out bytes.Buffer
	var failed []error
	for _, part := range []struct {
		name  string
		write func(context.Context, *bytes.Buffer) error
	}{
		{"load", writeLoad}, {"memory", writeMemory}, {"pressure", writePressure}, {"kernel limits", writeLimits},
		{"processes", writeTop}, {"file systems", writeDisks},
	} {
		fmt.Fprintf(&out, "== %s\n", part.name)
		err := ctx.Err()
		if err == nil {
			err = part.write(ctx, &out)
		}
		if err != nil {
			fmt.Fprintf(&out, "not read: %v\n", err)
			failed = append(failed, fmt.Errorf("read the host's %s: %w", part.name, err))
		}
	}
	if out.Len() > maxVitals {
		cut := fmt.Sprintf("\n[cut at %d bytes of %d]\n", maxVitals, out.Len())
		out.Truncate(maxVitals - len(cut))
		out.WriteString(cut)
	}
	return out.Bytes(), errors.Join(failed...)
}

func writeLoad(ctx context.Context, out *bytes.Buffer) error {
	l, err := load.AvgWithContext(ctx)
	if err != nil {
		return err
	}
	up := time.Since(booted(time.Now())).Round(time.Second)
	fmt.Fprintf(out, "load average %.2f %.2f %.2f, up %v\n", l.Load1, l.Load5, l.Load15, up)
	return nil
}

func writeMemory(ctx context.Context, out *bytes.Buffer) error {
	m, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "memory: %s, %s available (%.0f%% used), %s cached, %s dirty, %s shared, %s slab unreclaimable\n",
		size(m.Total), size(m.Available), m.UsedPercent, size(m.Cached), size(m.Dirty), size(m.Shared), size(m.Sunreclaim))
	fmt.Fprintf(out, "swap: %s, %s free; committed %s of %s\n", size(m.SwapTotal), size(m.SwapFree), size(m.CommittedAS), size(m.CommitLimit))
	stat, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(stat)) {
		if kills, ok := strings.CutPrefix(line, "oom_kill "); ok {
			fmt.Fprintf(out, "processes killed for want of memory since boot: %s", kills)
		}
	}
	return nil
}

// writePressure copies what the kernel says of stalls (PSI): "some" is the share of time in which at least one process
// waited, "full" in which all did.
func writePressure(_ context.Context, out *bytes.Buffer) error {
	var failed []error
	for _, what := range []string{"cpu", "memory", "io"} {
		text, err := os.ReadFile("/proc/pressure/" + what)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		for line := range strings.Lines(string(text)) {
			fmt.Fprintf(out, "%-6s %s\n", what, strings.TrimSpace(line))
		}
	}
	return errors.Join(failed...)
}

// writeLimits tells how near the kernel is to limits that stop containers from starting or answering.
func writeLimits(_ context.Context, out *bytes.Buffer) error {
	const sys = "/proc/sys/"
	for _, l := range []struct{ name, used, limit string }{
		{"open files (open, unused, limit)", sys + "fs/file-nr", ""},
		{"highest pid", "", sys + "kernel/pid_max"},
		{"threads", "", sys + "kernel/threads-max"},
		{"tracked connections", sys + "net/netfilter/nf_conntrack_count", sys + "net/netfilter/nf_conntrack_max"},
		{"inotify instances per user", "", sys + "fs/inotify/max_user_instances"},
	} {
		used, limit := oneLine(l.used), oneLine(l.limit)
		switch {
		case used != "" && limit != "":
			fmt.Fprintf(out, "%s: %s of %s\n", l.name, used, limit)
		case used+limit != "":
			fmt.Fprintf(out, "%s: %s\n", l.name, used+limit)
		}
	}
	return nil
}

// oneLine reads a file of /proc/sys, with its blanks made single; empty when there is none, as without conntrack.
func oneLine(path string) string {
	if path == "" {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

const maxDisks = 32

// writeDisks asks local file systems only: one on a server that is gone would never answer.
func writeDisks(ctx context.Context, out *bytes.Buffer) error {
	parts, err := disk.PartitionsWithContext(ctx, false) // without those that have no device: network, memory, kernel
	if err != nil {
		return err
	}
	var failed []error
	seen := make(map[string]bool)
	for _, p := range parts {
		if seen[p.Device] || strings.HasPrefix(p.Fstype, "fuse") || ctx.Err() != nil {
			continue
		}
		seen[p.Device] = true
		if len(seen) > maxDisks {
			fmt.Fprintf(out, "and more than %d others\n", maxDisks)
			break
		}
		u, err := disk.UsageWithContext(ctx, p.Mountpoint)
		if err != nil {
			failed = append(failed, fmt.Errorf("%q: %w", p.Mountpoint, err))
			continue
		}
		fmt.Fprintf(out, "%-24s %-8s %9s, %9s free (%.0f%% used), inodes %.0f%% used, %s\n", printable(p.Mountpoint), p.Fstype,
			size(u.Total), size(u.Free), u.UsedPercent, u.InodesUsedPercent, strings.Join(p.Opts, ","))
	}
	return errors.Join(failed...)
}

// size is a number of bytes for people.
func size(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for ; v >= unit && i < 4; i++ {
		v /= unit
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGTP"[i])
}
