package engine

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// base is what the engines that ask one tool share: how its command lines are made and its answers taken.
type base struct {
	spec  Spec
	run   Runner
	notes notes
}

// argv begins a command line of the tool: its place and the arguments that every command of this instance has.
func (b *base) argv(tool string, more ...string) []string {
	if b.spec.Bin != "" {
		tool = filepath.Join(b.spec.Bin, tool)
	}
	return append(append([]string{tool}, b.spec.Args...), more...)
}

// ask runs a command that only reads, within the limit of a list, and gives what it printed. An answer that was cut is an
// error: half a list would make the other half missing.
func (b *base) ask(ctx context.Context, argv []string) (hostexec.Transcript, error) {
	return b.askWithin(ctx, argv, b.spec.Timeout)
}

// askWithin is ask with a limit of its own.
func (b *base) askWithin(ctx context.Context, argv []string, within time.Duration) (hostexec.Transcript, error) {
	t := b.run.Read(ctx, hostexec.Command{Argv: argv, Env: b.spec.Env, Timeout: within, MaxOut: maxList})
	if err := t.Err(); err != nil {
		return t, err
	}
	if t.StdoutSize > int64(len(t.Stdout)) {
		return t, fmt.Errorf("%q printed %d bytes: not believed", filepath.Base(argv[0]), t.StdoutSize)
	}
	return t, nil
}

// file is the path of one of the host's files.
func (b *base) file(path string) string { return filepath.Join("/", b.spec.Root, path) }

func (b *base) ref(id string) health.Ref {
	return health.Ref{Engine: b.spec.Engine, Instance: b.spec.Instance, ID: id}
}

// checkPlain is checkID for tools whose commands take the id as a word of its own: it must not look like an option.
func checkPlain(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	if strings.HasPrefix(id, "-") {
		return fmt.Errorf("name %q: would be read as an option", id)
	}
	return nil
}

// readAnswer takes a tool's answer where exit 0 means "done" and the last line of stderr says why not. already are the
// words by which the tool says that it runs.
func readAnswer(already ...string) func(hostexec.Transcript, []byte) Answer {
	return func(t hostexec.Transcript, _ []byte) Answer {
		var a Answer
		said := string(t.Stderr) + "\n" + string(t.Stdout)
		for _, words := range already {
			a.Already = a.Already || strings.Contains(said, words)
		}
		if err := t.Err(); err != nil && !a.Already {
			a.Err = err.Error()
			if a.Cause = lastLine(t.Stderr); a.Cause == "" {
				a.Cause = lastLine(t.Stdout)
			}
		}
		return a
	}
}

// systemdUnit gives the name back where systemd runs and has such a unit, else "".
func systemdUnit(name string) string {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return "" // systemd does not run here, sd_booted(3)
	}
	for _, dir := range []string{"/etc", "/run", "/usr/lib", "/lib"} {
		if _, err := os.Stat(dir + "/systemd/system/" + name); err == nil {
			return name
		}
	}
	return ""
}

// orders remembers the stops, kills and restarts that we ordered, for engines whose own record of who stopped a container
// cannot tell us from a person. The zero value is ready, and remembers in memory only.
type orders struct {
	keep string // how the files begin, by which an agent after this one knows them too; empty: there are none
	mu   sync.Mutex
	at   map[string]order
}

// An order is the last one about a container. until is zero while it is at work.
type order struct{ from, until time.Time }

// kept is orders that outlive this process: an agent that was replaced in the middle of a restart, or after it, must not
// take its own stop for a person's.
func (b *base) kept() orders {
	name := strings.TrimSuffix(b.spec.Engine+"-"+b.spec.Instance, "-") + "-own-"
	return orders{keep: filepath.Join(cmp.Or(b.spec.RunDir, runDir), name)}
}

func (o *orders) begin(id string) { o.set(id, order{from: time.Now()}) }

func (o *orders) end(id string) { o.endBy(id, time.Now()) }

// endBy is end for a command that nobody waits for any more, and that may go on until then.
func (o *orders) endBy(id string, at time.Time) {
	if last, ok := o.last(id); ok {
		last.until = at
		o.set(id, last)
	}
}

func (o *orders) set(id string, x order) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.at == nil {
		o.at = map[string]order{}
	}
	o.at[id] = x
	if o.keep != "" && os.MkdirAll(filepath.Dir(o.keep), 0o750) == nil {
		until := int64(0)
		if !x.until.IsZero() {
			until = x.until.UnixNano()
		}
		_ = os.WriteFile(o.keep+id, fmt.Appendf(nil, "%d %d\n", x.from.UnixNano(), until), 0o600)
	}
}

// last gives the last order about a container, ours or that of an agent before this one, which may have ended before it.
func (o *orders) last(id string) (order, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if x, ok := o.at[id]; ok || o.keep == "" {
		return x, ok
	}
	b, err := readBounded(o.keep+id, 64)
	var from, until int64
	if _, bad := fmt.Sscan(string(b), &from, &until); err != nil || bad != nil {
		return order{}, false
	}
	x := order{from: time.Unix(0, from), until: time.Unix(0, until)}
	if until == 0 {
		x.until = x.from.Add(maxOwn)
	}
	return x, true
}

func (o *orders) forget(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.at, id)
	if o.keep != "" {
		_ = os.Remove(o.keep + id)
	}
}

// covers tells whether what happened then was ordered by us. Slack is for the engine's clock and for what it tells late.
func (o *orders) covers(id string, at time.Time, slack time.Duration) bool {
	last, ok := o.last(id)
	return ok && !at.Before(last.from.Add(-slack)) && (last.until.IsZero() || !at.After(last.until.Add(slack)))
}
