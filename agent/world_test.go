package agent_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"atalaya/agent"
	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/agent/notify"
	"atalaya/agent/sentinel"
	"atalaya/agent/store"
	"atalaya/probes"
)

// A world is what a command-line tool, called ctl, shows and changes: containers without processes, in a time that does
// not pass by itself. It stands for the process; parser, store, dispatcher and all decisions are the real ones.
//
// What reads real file descriptors cannot run where time stands still, so the sentinel polls, and nothing is known of the
// host (Options.Watcher is nil).
type world struct {
	mu      sync.Mutex
	guests  map[string]*fake
	deaf    string // why the list fails; empty: it does not
	tries   []try
	at      int           // changes under way
	most    int           // of them at once, ever
	takes   time.Duration // each change
	counted int           // lists asked for
	probed  crowd         // probes under way
	probing time.Duration // each probe takes
}

// A crowd counts what is under way at once.
type crowd struct{ now, most int }

type fake struct {
	running, broken, sick, off bool // off: no autostart
	full                       bool // it cannot be backed up
}

// A try is a command that changed, or was to change, a container.
type try struct {
	at       time.Time
	verb, id string
}

func newWorld(ids ...string) *world {
	w := &world{guests: map[string]*fake{}}
	for _, id := range ids {
		w.guests[id] = &fake{running: true}
	}
	return w
}

func (w *world) spec() engine.Spec {
	ctl := func(verb string) []string { return []string{"ctl", verb, "{{.ID}}"} }
	return engine.Spec{Engine: "custom", Custom: &engine.CustomSpec{
		List: []string{"ctl", "list"}, Start: ctl("start"), Restart: ctl("restart"), Stop: ctl("stop"), Exec: ctl("exec"),
		Line:   `^(?P<id>\S+) (?P<state>\S+) (?P<autostart>\S+)$`,
		States: map[string]health.RunState{"UP": health.Running, "DOWN": health.Stopped},
	}}
}

// Read is ctl list and ctl exec.
func (w *world) Read(_ context.Context, c hostexec.Command) hostexec.Transcript {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := hostexec.Transcript{Argv: c.Argv, Started: time.Now()}
	switch {
	case c.Argv[1] == "exec":
		w.probed.now++
		w.probed.most = max(w.probed.most, w.probed.now)
		w.mu.Unlock()
		time.Sleep(w.probing)
		w.mu.Lock()
		w.probed.now--
		if g := w.guests[c.Argv[2]]; !g.running || g.sick {
			t.Exit = 1
		}
		return t
	case w.deaf != "":
		w.counted++
		t.Exit, t.Stderr = 1, []byte(w.deaf)
		return t
	}
	w.counted++
	for id, g := range w.guests {
		state, auto := "DOWN", "yes"
		if g.running {
			state = "UP"
		}
		if g.off {
			auto = "no"
		}
		t.Stdout = fmt.Appendf(t.Stdout, "%s %s %s\n", id, state, auto)
	}
	t.StdoutSize = int64(len(t.Stdout))
	return t
}

// Stream ends at once: ctl has no events.
func (w *world) Stream(context.Context, hostexec.Command, func([]byte) error) error { return nil }

// Change is ctl start, stop and restart.
func (w *world) Change(_ context.Context, _ hostexec.Op, c hostexec.Command) hostexec.Transcript {
	w.mu.Lock()
	w.tries = append(w.tries, try{time.Now(), c.Argv[1], c.Argv[2]})
	w.at++
	w.most = max(w.most, w.at)
	w.mu.Unlock()
	time.Sleep(w.takes)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at--
	t := hostexec.Transcript{Argv: c.Argv, Started: time.Now()}
	g := w.guests[c.Argv[2]]
	if c.Argv[1] == "backup" {
		if g.full {
			t.Exit, t.Stderr = 1, []byte("no space left on device\n")
		}
		return t
	}
	if g.broken {
		g.running = false
		t.Exit, t.Stderr = 1, []byte("its disk is gone\n")
		return t
	}
	g.running = c.Argv[1] != "stop"
	g.sick = g.sick && c.Argv[1] == "stop"
	return t
}

// do changes the world, as only the real one changes by itself.
func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// die has a container stop by itself; broken says whether it can be started again.
func (w *world) die(id string, broken bool) {
	w.do(func() { w.guests[id].running, w.guests[id].broken = false, broken })
}

// tried gives what was tried with a container, and when.
func (w *world) tried(id string) (out []try) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, tr := range w.tries {
		if tr.id == id {
			out = append(out, tr)
		}
	}
	return out
}

// A bubble is an agent over a world, in a synctest bubble.
type bubble struct {
	*running
	w   *world
	dir string
	set agent.Settings
}

// newBubble has an agent with the default policy watch the world. It must be called in a synctest bubble, and end too.
func newBubble(t *testing.T, w *world, dir string, edit func(*agent.Settings)) *bubble {
	t.Helper()
	spec := probes.Spec{Name: "check", Kind: probes.Exec, Argv: []string{"check"}}
	run, err := probes.New(spec)
	if err != nil {
		t.Fatal(err)
	}
	pp := health.DefaultProbePolicy()
	b := &bubble{w: w, dir: dir}
	b.set = agent.Settings{Mode: health.ModeHeal, Poll: 10 * time.Second, Survey: health.DefaultSurvey(), Probes: 16, Channels: []string{"file"},
		Setup: func(health.Sighting) agent.Setup {
			p := health.DefaultPolicy()
			p.Probes = map[string]health.ProbePolicy{"check": pp}
			return agent.Setup{Policy: p, Channels: []string{"file"}, Probes: []agent.Probe{{Spec: spec, Run: run, Every: pp.Every}}}
		}}
	if edit != nil {
		edit(&b.set)
	}
	b.begin(t)
	return b
}

// begin makes the agent of whatever is stored.
func (b *bubble) begin(t *testing.T) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a := &assembly{exec: hostexec.New(hostexec.Options{})}
	var err error
	a.store, a.opened, err = store.Open(store.Options{Dir: b.dir})
	must(err)
	kernel, err := sentinel.New(sentinel.Options{Force: "poll", PollEvery: time.Hour})
	must(err)
	i, err := engine.Open(b.w.spec(), b.w, nil)
	must(err)
	a.agent, err = agent.New(context.Background(), agent.Options{Version: "test", Host: health.Host{FQDN: "h1.example.org", Boot: "boot1"},
		Store: a.store, Orderly: a.opened.Orderly, Instances: []*engine.Instance{i}, Sentinel: kernel, Settings: b.set,
		Queued: func() { a.dispatcher.Kick() }})
	must(err)
	channel, err := notify.NewFile(notify.FileSpec{Name: "file", Path: filepath.Join(b.dir, "alerts.jsonl")})
	must(err)
	a.dispatcher = notify.NewDispatcher(notify.DispatcherOptions{Store: a.store, Channels: []notify.Channel{channel}, Now: a.agent.Now})
	a.run()
	b.running = &running{assembly: a, t: t, log: &journalOfLogs{}}
}

// crash ends the agent as a kill would at this moment: what it writes from now on does not count.
func (b *bubble) crash(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, f := range []string{"atalaya.db", "atalaya.db-wal"} {
		data, err := os.ReadFile(filepath.Join(b.dir, f))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.stop()
	b.dir = dir
}

// delivered gives the kinds of alerts that the channel got, in order.
func (b *bubble) delivered() string {
	kinds := []string{}
	for line := range strings.Lines(b.text()) {
		_, rest, _ := strings.Cut(line, `"kind":"`)
		kind, _, _ := strings.Cut(rest, `"`)
		kinds = append(kinds, kind)
	}
	return fmt.Sprint(kinds)
}

// text is what the channel got.
func (b *bubble) text() string {
	data, _ := os.ReadFile(filepath.Join(b.dir, "alerts.jsonl"))
	return string(data)
}

// state gives one container.
func (b *bubble) state(id string) health.ContainerView { return of(b.view(), "custom/"+id) }

// gaps gives the times between tries, the first from start on.
func gaps(start time.Time, tries []try) (out []time.Duration) {
	for _, tr := range tries {
		out = append(out, tr.at.Sub(start))
		start = tr.at
	}
	return out
}

// within tells whether each gap is at least as long as wanted, and longer by no more than a quarter, the jitter, and a
// second, by which it is seen.
func within(got, want []time.Duration) bool {
	return slices.EqualFunc(got, want, func(g, w time.Duration) bool { return g >= w && g <= w+w/4+time.Second })
}
