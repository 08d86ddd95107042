package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"atalaya/agent"
	"atalaya/agent/config"
	"atalaya/agent/engine"
	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/host"
	"atalaya/agent/hostexec"
	"atalaya/agent/notify"
	"atalaya/agent/schedule"
	"atalaya/agent/sentinel"
	"atalaya/agent/store"
	"atalaya/agent/web"
)

// parts are what the running agent is made of.
type parts struct {
	log        *slog.Logger
	config     *config.Config // as it was at the start, but for its secrets, to which a reload adds
	reloading  *reloading
	dry        string // of a dry run: the folder that holds all it keeps
	identity   health.Host
	registry   *prometheus.Registry
	exec       *hostexec.Host
	store      *store.Store
	recorder   *evidence.Recorder
	dispatcher *notify.Dispatcher
	schedule   *schedule.Schedule
	agent      *agent.Agent
	web        *web.Server // nil: web.listen is off
	control    *web.Control
	closers    []func()
}

// close undoes, in the opposite order, what assemble did.
func (p *parts) close() {
	for _, f := range slices.Backward(p.closers) {
		f()
	}
}

// A service is a part that runs beside the decision loop.
type service struct {
	name string
	run  func(context.Context) error
}

func (p *parts) services() []service {
	all := []service{
		{"dispatcher of alerts", p.dispatcher.Run},
		{"schedule", p.schedule.Run},
		{"control socket", p.control.Run},
	}
	if p.web != nil {
		all = append(all, service{"metrics and health", p.web.Run})
	}
	return all
}

// assemble makes all parts, or none. dry is the folder of a dry run, else empty.
func assemble(ctx context.Context, c *config.Config, log *slog.Logger, r *reloading, dry string) (_ *parts, err error) {
	p := &parts{log: log, config: c, reloading: r, dry: dry, registry: prometheus.NewRegistry(), identity: host.Identity(c.Host.Site)}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	run := filepath.Dir(c.Control.Socket)
	p.exec = hostexec.New(hostexec.Options{Dir: filepath.Join(run, "commands"), Log: log, Registerer: p.registry})
	p.closers = append(p.closers, p.exec.Close)
	var opened store.Report
	if opened, err = p.openStore(); err != nil {
		return nil, err
	}
	p.openEvidence()
	if err = p.makeAgent(ctx, opened, run); err != nil {
		return nil, err
	}
	channels, err := makeChannels(c)
	if err != nil {
		return nil, err
	}
	p.dispatcher = notify.NewDispatcher(notify.DispatcherOptions{Store: p.store, Channels: channels, Log: log, Registerer: p.registry, Now: p.agent.Now})
	p.schedule, err = schedule.New(log, p.registry, schedule.Job{Name: "housekeeping", Spec: c.Housekeeping, Do: p.housekeeping, Jitter: 10 * time.Minute, Seed: p.identity.FQDN})
	if err != nil {
		return nil, err
	}
	return p, p.listen()
}

// openStore opens the state folder. One that cannot be used keeps nobody from being watched: what it should hold is then
// held in memory, and that is said loudly.
func (p *parts) openStore() (opened store.Report, err error) {
	o := store.Options{Dir: p.config.Store.Dir, Log: p.log, Registerer: p.registry, MaxAge: p.config.Store.MaxAge, MaxBytes: p.config.Store.MaxBytes}
	p.store, opened, err = store.Open(o)
	if err != nil && !errors.Is(err, store.ErrLocked) && !errors.Is(err, store.ErrNewer) {
		p.log.Error("the state folder cannot be used: this agent remembers nothing beyond its own end", "dir", o.Dir, "err", err)
		cause := err
		o.Dir, o.Registerer = "", nil
		p.store, opened, err = store.Open(o)
		opened.Degraded = cause
	}
	if err != nil {
		return opened, err
	}
	p.closers = append(p.closers, func() {
		if err := p.store.Close(); err != nil {
			p.log.Error("the store was not closed in order", "err", err)
		}
	})
	return opened, nil
}

// openEvidence makes the recorder, unless none is wanted. Without one, healing and alerts go on.
func (p *parts) openEvidence() {
	if !wantsEvidence(p.config) {
		return
	}
	var err error
	p.recorder, err = evidence.New(evidence.Options{Dir: p.config.Evidence.Dir, Runner: p.exec, Log: p.log, Registerer: p.registry,
		Tuning: tuning(p.config.Evidence), Secrets: p.config.Secrets, Version: version})
	if err != nil {
		p.log.Error("no evidence can be taken; healing and alerts go on without", "err", err)
		p.recorder = nil
	}
}

func (p *parts) makeAgent(ctx context.Context, opened store.Report, run string) error {
	instances, err := p.openEngines(ctx, run)
	if err != nil {
		return err
	}
	kernel, err := sentinel.New(sentinel.Options{Log: p.log, Registerer: p.registry})
	if err != nil {
		return fmt.Errorf("begin to listen for the deaths of processes: %w", err)
	}
	p.agent, err = agent.New(ctx, agent.Options{
		Version: version, DryRun: p.dry != "", Host: p.identity, Log: p.log, Store: p.store, Orderly: opened.Orderly, Instances: instances, Sentinel: kernel,
		Watcher:  host.New(host.Options{Runner: p.exec, Log: p.log, Canaries: p.config.HostWide.Canaries, Registerer: p.registry}),
		Recorder: p.recorder, Settings: settings(p.config, p.log), Leftovers: leftovers(p.exec), Own: hostexec.Own, Busy: p.busy, Stuck: p.stuck,
		Config:   p.reloading.View,
		Channels: func() []health.ChannelView { return p.dispatcher.Channels() },
		Queued:   func() { p.dispatcher.Kick() }, Notices: notices(opened), Registerer: p.registry,
	})
	return err
}

// openEngines opens what is configured, or what is found.
func (p *parts) openEngines(ctx context.Context, run string) ([]*engine.Instance, error) {
	specs := p.config.Engines
	if len(specs) == 0 {
		specs = engine.Discover(ctx, p.exec)
		for _, s := range specs {
			p.log.Info("found", "engine", s.Engine, "instance", s.Instance, "where", s.Path)
		}
	}
	if len(specs) == 0 {
		return nil, fmt.Errorf("no virtualization engine was found on this host; this version knows %v: install one, or describe yours under engines: in the configuration", engine.Names())
	}
	var out []*engine.Instance
	for _, s := range specs {
		s.RunDir, s.Quiet = run, p.config.PollHeld
		runner, err := runnerOf(p.exec, s)
		if err != nil {
			return nil, err
		}
		i, err := engine.Open(s, runner, p.log)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

// runnerOf is what runs the commands of an instance: this host, or the connection to another.
func runnerOf(x *hostexec.Host, s engine.Spec) (engine.Runner, error) {
	if s.SSH == "" {
		return x, nil
	}
	return x.Remote(hostexec.SSH{Target: s.SSH, Config: s.SSHConf})
}

// busy reports whether a command that changes the container still runs.
func (p *parts) busy(ref string) bool {
	for _, u := range p.exec.Unfinished() {
		if u.Op.Container == ref {
			return true
		}
	}
	return false
}

func (p *parts) stuck() []string {
	var out []string
	for _, s := range p.exec.Stuck() {
		out = append(out, fmt.Sprintf("%v, pid %d, since %s", s.Command, s.PID, s.Started.Format(time.RFC3339)))
	}
	return out
}

func leftovers(h *hostexec.Host) []agent.Leftover {
	var out []agent.Leftover
	for _, u := range h.Unfinished() {
		out = append(out, agent.Leftover{Container: u.Op.Container, Text: fmt.Sprint(u.Command),
			Wait: func(ctx context.Context) { h.Await(ctx, u) }})
	}
	return out
}

// notices are what people should know about how this agent came up.
func notices(r store.Report) []string {
	var out []string
	if r.SetAside != "" {
		out = append(out, fmt.Sprintf("the database was malformed and was set aside as %s; this agent starts as at a first install: what is down now is left down until somebody says 'atalaya want'", r.SetAside))
	}
	if r.Degraded != nil {
		out = append(out, fmt.Sprintf("the store cannot be written: %v; healing goes on from memory", r.Degraded))
	}
	return out
}

// housekeeping deletes what has outlived its time.
func (p *parts) housekeeping(ctx context.Context) error {
	keep := p.reloading.current.Load().Evidence
	if err := p.store.Retire(ctx, p.agent.Now().Add(-keep.MaxAge), keep.MaxBytes); err != nil {
		return fmt.Errorf("retire old bundles: %w", err)
	}
	pruned, err := p.store.Prune(ctx, p.agent.Now())
	if err != nil {
		return fmt.Errorf("prune the store: %w", err)
	}
	var gone []string
	for _, path := range pruned.Bundles {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			p.log.Warn("an old bundle could not be deleted", "path", path, "err", err)
			continue
		}
		gone = append(gone, path)
	}
	p.log.Info("housekeeping is done", "rows", pruned.Rows, "bundles", len(gone), "bytes", pruned.Bytes)
	return p.store.Forgot(ctx, gone)
}
