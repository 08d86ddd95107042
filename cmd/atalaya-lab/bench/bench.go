// Package bench measures the agent beside the floor program, in one run and on the
// same containers: how fast it brings a killed container back, what it costs at
// rest, and what a probe costs. Figures of two programs are comparable only within
// one run, so everything is printed as a multiple of that run's floor.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"atalaya/cmd/atalaya-lab/rig"
)

// Options say what is measured and for how long.
type Options struct {
	Agent    string        // the agent's binary
	Lab      string        // the lab's own, which is the floor too
	UnitFile string        // atalaya.service
	Only     []string      // of Parts; empty: all
	Engines  []string      // of Engines; empty: all
	Inside   bool          // this is the host of a systemd rig, where nspawn is measured
	Kills    int           // per contender
	Windows  int           // measured windows; medians of them are printed
	Window   time.Duration // one window; a multiple of the 10 s of polls and probes
	Out      io.Writer
	Stage    *rig.Stage // cleans up the containers
}

// Parts are the names that Options.Only takes.
func Parts() []string { return []string{"kills", "unit", "rest", "probes", "engines"} }

const (
	probeEvery = 10 * time.Second
	fewer      = 50  // containers of the kills and of the first figures at rest
	more       = 200 // of the second
	targets    = 1000
)

// run is one benchmark under way.
type run struct {
	Options
	lxc *rig.LXC
	n   int // of programs started so far: each has a folder of its own
}

// Run measures and prints. It ends early, with the cleanup done, when the context does.
func Run(ctx context.Context, o Options) error {
	if _, err := os.Stat(o.Agent); err != nil {
		return fmt.Errorf("find the agent's binary, see `make build`: %w", err)
	}
	if o.Window%probeEvery != 0 || o.Window <= 0 || o.Windows < 1 || o.Kills < 1 {
		return errors.New("a window is a multiple of 10s, and there is at least one window and one kill")
	}
	r := &run{Options: o}
	parts := []struct {
		name    string
		measure func(context.Context) error
	}{{"kills", r.kills}, {"unit", r.unit}, {"rest", r.rest}, {"probes", r.probes}, {"engines", r.engines}}
	for _, p := range parts {
		if len(o.Only) > 0 && !slices.Contains(o.Only, p.name) {
			continue
		}
		if err := p.measure(ctx); err != nil {
			return fmt.Errorf("measure %s: %w", p.name, err)
		}
	}
	return nil
}

// containers brings the rig to n running containers.
func (r *run) containers(ctx context.Context, n int) error {
	if r.lxc == nil {
		r.lxc = rig.NewLXC(r.Stage, rig.LXCOptions{})
	}
	for i := len(r.lxc.Names()); i < n; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := "web" + strconv.Itoa(i+1)
		r.lxc.Add(name)
		r.lxc.Start(name)
	}
	for _, name := range r.lxc.Names() {
		r.lxc.WaitHTTP(name, time.Minute)
	}
	r.printf("%d containers run\n", n)
	return nil
}

// folder is a new one for the next program.
func (r *run) folder() (string, error) {
	r.n++
	dir := filepath.Join(r.lxc.Scratch(), "run"+strconv.Itoa(r.n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a folder for a program: %w", err)
	}
	return dir, nil
}

func (r *run) printf(format string, args ...any) { fmt.Fprintf(r.Out, format, args...) }

// pause waits, or says that the benchmark is over.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
