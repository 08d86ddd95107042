package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
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

func (r *running) view() health.View {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v, err := r.agent.View(ctx)
	if err != nil {
		r.t.Fatalf("the agent does not say what it knows: %v", err)
	}
	return v
}

// until polls until ok, and ends the test with what was seen last when that does not come.
func (r *running) until(what string, ok func(v health.View) bool) health.View {
	r.t.Helper()
	var v health.View
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if v = r.view(); ok(v) {
			return v
		}
	}
	text, _ := json.MarshalIndent(v.Containers, "", " ")
	r.t.Fatalf("not within %s: %s\n%s", patience, what, text)
	return v
}

// phase waits until a container is in one of the phases.
func (r *running) phase(ref string, phases ...health.Phase) health.ContainerView {
	r.t.Helper()
	v := r.until(fmt.Sprintf("%s is %v", ref, phases), func(v health.View) bool {
		c := of(v, ref)
		for _, ph := range phases {
			if c.Phase == ph {
				return true
			}
		}
		return false
	})
	return of(v, ref)
}

// up waits until the containers are well, and, where the web server is probed, its probe has passed in this life.
func (r *running) up(refs ...string) {
	r.t.Helper()
	for _, ref := range refs {
		r.until(ref+" is up", func(v health.View) bool {
			c := of(v, ref)
			return c.Phase == health.Up && (!r.plan.Web || len(c.Signals) == 1 && c.Signals[0].Outcome == health.Pass)
		})
	}
}

// of gives a container of the view; the zero value where it is not known.
func of(v health.View, ref string) health.ContainerView {
	for _, c := range v.Containers {
		if c.Ref.String() == ref {
			return c
		}
	}
	return health.ContainerView{}
}

// incidents gives those of one container, oldest first.
func (r *running) incidents(ref string) []health.Incident {
	r.t.Helper()
	all, err := r.store.Incidents(context.Background(), store.Filter{})
	if err != nil {
		r.t.Fatal(err)
	}
	var out []health.Incident
	for _, in := range all {
		if in.Ref.String() == ref {
			out = append([]health.Incident{in}, out...)
		}
	}
	return out
}

// resolved waits until the container has n incidents, all of them over.
func (r *running) resolved(ref string, n int) []health.Incident {
	r.t.Helper()
	var all []health.Incident
	r.until(fmt.Sprintf("%d incidents of %s are over", n, ref), func(health.View) bool {
		all = r.incidents(ref)
		over := 0
		for _, in := range all {
			if !in.Resolved.IsZero() {
				over++
			}
		}
		return over == n && len(all) == n
	})
	return all
}

// alerts gives what was queued about one container, in order, delivered or not.
func (r *running) alerts(ref string) []store.Delivery {
	r.t.Helper()
	all, err := r.store.Outbox(context.Background(), true)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []store.Delivery
	for _, d := range all {
		if d.Alert.Container != nil && d.Alert.Container.Ref == ref {
			out = append(out, d)
		}
	}
	return out
}

// alerted waits until exactly these kinds of alerts were queued about the container, in this order.
func (r *running) alerted(ref string, kinds ...health.AlertKind) []store.Delivery {
	r.t.Helper()
	want := fmt.Sprint(kinds)
	got := ""
	var all []store.Delivery
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		all = r.alerts(ref)
		if got = kindsOf(all); got == want {
			return all
		}
	}
	r.t.Fatalf("alerts of %s: %s, want %s", ref, got, want)
	return nil
}

func kindsOf(all []store.Delivery) string {
	kinds := []health.AlertKind{}
	for _, d := range all {
		kinds = append(kinds, d.Alert.Kind)
	}
	return fmt.Sprint(kinds)
}

// quiet looks for so long, and ends the test when ok does not hold all the time.
func (r *running) always(what string, within time.Duration, ok func(v health.View) bool) {
	r.t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if v := r.view(); !ok(v) {
			text, _ := json.MarshalIndent(v.Containers, "", " ")
			r.t.Fatalf("not all the time: %s\n%s", what, text)
		}
	}
}

// lists waits until the instance has been listed completely twice from now on.
func (r *running) lists() {
	r.t.Helper()
	for range 2 {
		from := time.Now()
		r.until("another list", func(v health.View) bool {
			for _, i := range v.Instances {
				if !i.Looked.After(from) {
					return false
				}
			}
			return true
		})
	}
}

// order gives a person's word, which must be taken.
func (r *running) order(name string, o health.Order) {
	r.t.Helper()
	if o.By == "" {
		o.By = "the test"
	}
	if _, err := r.agent.Order(context.Background(), name, false, o); err != nil {
		r.t.Fatal(err)
	}
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
