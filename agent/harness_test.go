package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"atalaya/agent"
	"atalaya/agent/engine"
	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/host"
	"atalaya/agent/hostexec"
	"atalaya/agent/notify"
	"atalaya/agent/sentinel"
	"atalaya/agent/store"
	"atalaya/cmd/atalaya-lab/rig"
	"atalaya/probes"
)

// A plan is what an agent is made of; all of it real. It is plain data, so that a process of its own can be given one.
type plan struct {
	Dir    string        // of everything the agent writes; it outlives the agent
	State  string        // of the store; empty: below Dir
	Specs  []engine.Spec // engine instances
	Poll   time.Duration
	Policy health.Policy
	Web    bool // probe the web server
	Survey health.Survey
	Due    time.Duration // how long an alert waits for its evidence

	Edit func(health.Sighting, *agent.Setup) `json:"-"`
}

// planFor watches the rig, with periods short enough for a test.
func planFor(t testing.TB, rigs ...*rig.LXC) plan {
	t.Helper()
	p := plan{Dir: t.TempDir(), Poll: 250 * time.Millisecond, Policy: quickPolicy(), Survey: health.DefaultSurvey(), Due: 2500 * time.Millisecond}
	for i, l := range rigs {
		s := engine.Spec{Engine: "lxc", Path: l.Path(), Timeout: 3 * time.Second}
		if i > 0 {
			s.Instance = fmt.Sprintf("path%d", i+1)
		}
		p.Specs = append(p.Specs, s)
	}
	return p
}

func quickPolicy() health.Policy {
	p := health.DefaultPolicy()
	p.Delays = []time.Duration{200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond}
	p.RetryMin, p.RetryMax = 2*time.Second, 4*time.Second
	p.StopWithin, p.SettleWithin = 4*time.Second, 300*time.Millisecond
	return p
}

// setup is what is configured about one container.
func (p plan) setup(s health.Sighting) agent.Setup {
	out := agent.Setup{Policy: p.Policy, Channels: []string{"file"}}
	if p.Web {
		spec := probes.Spec{Name: "web", Kind: probes.HTTP, Timeout: time.Second}
		run, err := probes.New(spec)
		if err != nil {
			panic(err)
		}
		pp := health.ProbePolicy{FailAfter: 3, PassAfter: 1, Grace: 20 * time.Second, OnFail: health.FailRestart, Every: 200 * time.Millisecond}
		out.Policy.Probes = map[string]health.ProbePolicy{"web": pp}
		out.Probes = []agent.Probe{{Spec: spec, Run: run, Every: pp.Every}}
	}
	if p.Edit != nil {
		p.Edit(s, &out)
	}
	return out
}

func (p plan) settings() agent.Settings {
	return agent.Settings{Mode: p.Policy.Mode, Poll: p.Poll, Survey: p.Survey, Probes: 16, Channels: []string{"file"},
		Setup: p.setup, OpenDue: p.Due}
}

func (p plan) state() string {
	if p.State != "" {
		return p.State
	}
	return filepath.Join(p.Dir, "state")
}

// An assembly is an agent with all its parts.
type assembly struct {
	exec       *hostexec.Host
	store      *store.Store
	opened     store.Report
	agent      *agent.Agent
	dispatcher *notify.Dispatcher
	cancel     context.CancelFunc
	done       sync.WaitGroup
}

func (p plan) assemble(w io.Writer) (*assembly, error) {
	log := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := &assembly{exec: hostexec.New(hostexec.Options{Dir: filepath.Join(p.Dir, "commands"), Log: log})}
	var err error
	if a.store, a.opened, err = store.Open(store.Options{Dir: p.state(), Log: log}); err != nil {
		a.exec.Close()
		return nil, err
	}
	recorder, err := evidence.New(evidence.Options{Dir: filepath.Join(p.Dir, "evidence"), Runner: a.exec, Log: log})
	if err != nil {
		return nil, err
	}
	kernel, err := sentinel.New(sentinel.Options{Log: log})
	if err != nil {
		return nil, err
	}
	o := agent.Options{Version: "test", Host: host.Identity(""), Log: log, Store: a.store, Orderly: a.opened.Orderly,
		Sentinel: kernel, Watcher: host.New(host.Options{Runner: a.exec, Log: log}), Recorder: recorder, Settings: p.settings(),
		Own: hostexec.Own, Busy: a.busy, Queued: func() { a.dispatcher.Kick() }}
	for _, s := range p.Specs {
		s.RunDir = p.Dir
		i, err := engine.Open(s, a.exec, log)
		if err != nil {
			return nil, err
		}
		o.Instances = append(o.Instances, i)
	}
	for _, u := range a.exec.Unfinished() {
		o.Leftovers = append(o.Leftovers, agent.Leftover{Container: u.Op.Container, Text: fmt.Sprint(u.Command),
			Wait: func(ctx context.Context) { a.exec.Await(ctx, u) }})
	}
	channel, err := notify.NewFile(notify.FileSpec{Name: "file", Path: filepath.Join(p.Dir, "alerts.jsonl")})
	if err != nil {
		return nil, err
	}
	a.dispatcher = notify.NewDispatcher(notify.DispatcherOptions{Store: a.store, Channels: []notify.Channel{channel}, Log: log,
		Now: func() time.Time { return a.agent.Now() }})
	a.agent, err = agent.New(context.Background(), o)
	return a, err
}

func (a *assembly) busy(ref string) bool {
	for _, u := range a.exec.Unfinished() {
		if u.Op.Container == ref {
			return true
		}
	}
	return false
}

// run has it watch, in goroutines of its own.
func (a *assembly) run() {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.done.Go(func() { a.agent.Run(ctx) })
	a.done.Go(func() { _ = a.dispatcher.Run(ctx) })
}

// A running agent, with what tests ask of it.
type running struct {
	*assembly
	t    testing.TB
	plan plan
	log  *journalOfLogs
	once sync.Once

	brokenDisk bool // its store cannot be closed in order
}

// start has the plan's agent watch, until the test ends or stop is called.
func (p plan) start(t testing.TB) *running {
	t.Helper()
	log := &journalOfLogs{}
	a, err := p.assemble(log)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{assembly: a, t: t, plan: p, log: log}
	t.Cleanup(r.stop)
	log.showOnFailure(t, "the agent")
	a.run()
	return r
}

// stop ends it in order.
func (r *running) stop() {
	r.once.Do(func() {
		r.cancel()
		r.done.Wait()
		if err := r.store.Close(); err != nil && !r.brokenDisk {
			r.t.Errorf("close the store: %v", err)
		}
		r.exec.Close()
	})
}

// journalOfLogs keeps what was logged, for tests to search and for people to read when one fails.
type journalOfLogs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *journalOfLogs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *journalOfLogs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *journalOfLogs) count(text string) int { return strings.Count(l.String(), text) }

func (l *journalOfLogs) showOnFailure(t testing.TB, what string) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", what, l.String())
		}
	})
}
