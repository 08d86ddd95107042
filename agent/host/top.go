package host

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	topCount = 8
	maxRead  = 20000 // processes; some 5 µs each
)

// A task is what /proc/PID/stat says of one process.
type task struct {
	pid   int
	name  string
	state byte
	cpu   time.Duration // user and system, since it began
	rss   uint64        // bytes
}

// writeTop names the processes with the most memory and the most CPU time, and how many are in which state: many in D
// (uninterruptible sleep) is storage that does not answer. One file per process is read, not the seven gopsutil reads.
func writeTop(ctx context.Context, out *bytes.Buffer) error {
	tasks, states, err := readTasks(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d processes:", len(tasks))
	for _, s := range "RSDTtZI" {
		if n := states[byte(s)]; n > 0 {
			fmt.Fprintf(out, " %d %c", n, s)
		}
	}
	out.WriteString(" (R running, S sleeping, D waiting for storage or the kernel, T stopped, Z dead, I idle)\n")
	slices.SortFunc(tasks, func(a, b task) int { return cmp.Compare(b.rss, a.rss) })
	for _, t := range tasks[:min(topCount, len(tasks))] {
		fmt.Fprintf(out, "memory %10s  pid %-8d %s\n", size(t.rss), t.pid, t.name)
	}
	slices.SortFunc(tasks, func(a, b task) int { return cmp.Compare(b.cpu, a.cpu) })
	for _, t := range tasks[:min(topCount, len(tasks))] {
		fmt.Fprintf(out, "cpu    %10v  pid %-8d %s\n", t.cpu.Round(10*time.Millisecond), t.pid, t.name)
	}
	waiting := 0
	for _, t := range tasks {
		if t.state == 'D' && waiting < topCount {
			waiting++
			fmt.Fprintf(out, "in D state         pid %-8d %s\n", t.pid, t.name)
		}
	}
	return nil
}

func readTasks(ctx context.Context) ([]task, map[byte]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, nil, err
	}
	states := make(map[byte]int)
	var tasks []task
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' || len(tasks) >= maxRead {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		line, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it ended meanwhile
		}
		if t, ok := parseTask(line); ok {
			tasks = append(tasks, t)
			states[t.state]++
		}
	}
	return tasks, states, nil
}

// parseTask reads /proc/PID/stat, see proc(5). The name stands in parentheses and may hold anything.
func parseTask(line []byte) (task, bool) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 1 || end < open {
		return task{}, false
	}
	f := strings.Fields(string(line[end+1:]))
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:open])))
	if err != nil || len(f) < 22 {
		return task{}, false
	}
	number := func(i int) uint64 { n, _ := strconv.ParseUint(f[i], 10, 64); return n } // the kernel writes numbers
	const tick = time.Second / 100
	return task{
		pid: pid, name: printable(string(line[open+1 : end])), state: f[0][0],
		cpu: time.Duration(number(11)+number(12)) * tick,
		rss: number(21) * uint64(os.Getpagesize()),
	}, true
}

// printable replaces what a container may have put into a name to deceive a reader's terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
}
