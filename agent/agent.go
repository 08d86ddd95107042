package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"atalaya/agent/engine"
	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/host"
	"atalaya/agent/schedule"
	"atalaya/agent/sentinel"
	"atalaya/agent/store"
	"atalaya/probes"
)

// Options are what an Agent is made of. Store, Sentinel and Settings are needed.
type Options struct {
	Version   string
	DryRun    bool // for the view: the settings are those of a rehearsal
	Host      health.Host
	Log       *slog.Logger
	Store     *store.Store
	Orderly   bool // the agent before this one ended in order
	Instances []*engine.Instance
	Sentinel  *sentinel.Sentinel // run by the agent
	Watcher   *host.Watcher      // run by the agent; nil: nothing is known of the host
	Recorder  *evidence.Recorder // nil: no evidence is taken
	Settings  Settings

	Leftovers  []Leftover                  // commands of a predecessor that still run
	Own        func(pid int) bool          // whether a process is a command of ours that changes a container
	Busy       func(ref string) bool       // whether a command that changes the container still runs
	Stuck      func() []string             // commands abandoned in uninterruptible sleep
	Config     func() health.ConfigView    // for the view; it does not wait
	Channels   func() []health.ChannelView // for the view: what is not delivered, by the agent's own time; it does not wait
	Queued     func()                      // called, from any goroutine, when the outbox has something new
	Notices    []string                    // told to all channels once the loop turns: a store that was lost, an unclean end
	Registerer prometheus.Registerer
}

// Settings are what a reload may change. They are swapped whole.
type Settings struct {
	Mode     health.Mode
	Poll     time.Duration // between lists
	Survey   health.Survey
	PollHeld time.Duration // how long an engine's tool may go unasked while nothing moves
	Evidence evidence.Tuning
	Probes   int // at once, on the whole host
	Channels []string
	Setup    func(health.Sighting) Setup
	Windows  []Window
	Backups  int           // scheduled ones at once, on the whole host; 0: any number
	OpenDue  time.Duration // how long an alert of an incident waits for its evidence
}

// A Setup is what is configured about one container.
type Setup struct {
	Policy    health.Policy
	Probes    []Probe
	Channels  []string
	Runbook   string
	Ignore    bool     // not watched at all
	DependsOn []string // without which it cannot work: names, or health.Ref.String
	Priority  int      // of several that wait for room the higher comes first

	Windows   []string   // names of the maintenance windows that concern it
	Schedules []Schedule // what is to be done to it at certain times; Policy.Jobs says more of each
}

// A Window is a maintenance window.
type Window struct {
	schedule.Window
	All bool // it concerns every container, and so the host itself
}

// A Schedule is a job that is to be done to a container at certain times.
type Schedule struct {
	Name    string
	Spec    schedule.Spec // with the jitter of this container in it
	Command *engine.Order // backup: instead of the engine's own; nil: none
}

// A Probe is one compiled probe with its pace.
type Probe struct {
	Spec  probes.Spec
	Run   probes.Probe
	Every time.Duration
}

// A Leftover is a command of a predecessor that still runs: its container is not touched before it ends.
type Leftover struct {
	Container string // health.Ref.String
	Text      string
	Wait      func(ctx context.Context)
}

// An Agent watches the containers of one host. Make it with New, then call Run once.
type Agent struct {
	o       Options
	log     *slog.Logger
	clock   clock
	inbox   *inbox
	prober  *prober
	hands   *hands
	metrics *metrics
	glances glances
	execs   atomic.Pointer[sentinel.Execs] // nil: not to be had here
	poll    atomic.Int64                   // time.Duration between lists
	lastRun atomic.Int64                   // of the loop, in Unix nanoseconds
	turns   atomic.Uint64
	ready   chan struct{}
	stopped chan struct{}

	// Owned by the decision goroutine.
	set     Settings
	survey  health.Survey
	guests  map[health.Ref]*guest
	shadows map[health.Ref]health.Ref // containers that a higher engine watches, by which one
	inst    []*instance
	journal journal
	memory  memory
	holdAll *health.Hold
	closed  string
	byName  map[string][]*guest // see called; nil: not made in this turn
	named   int                 // guests in it
	unmet   map[string]bool     // dependencies that name no container, told once
	event   string              // of the host, as the store has it
	faults  []string            // of the host, that were given to the survey last
	strain  strain              // the same, as the journal has it
	loaded  store.Loaded
	seqs    map[string]int    // alerts of each open incident
	certs   map[string]string // see certificate
	windows openWindows
	nextJob time.Time // by the host's clock, when the next schedule is due; zero: none is
	backups int       // scheduled ones that are about to be made, or are
}

// An instance is one engine instance with what is known of its lists.
type instance struct {
	*engine.Instance
	ref     health.Ref    // engine and instance only
	asked   chan struct{} // a list is wanted sooner than by the clock
	view    health.InstanceView
	failing time.Time                    // since when its lists fail; zero: they do not
	heard   bool                         // listed once, or it could not be
	live    atomic.Pointer[[]health.Ref] // those whose init the sentinel holds
	all     atomic.Pointer[[]health.Ref] // those that are known
	word    atomic.Pointer[host.Word]    // the host's latest
	home    atomic.Pointer[string]       // engine.Instance.Place when it last listed containers
}

// New makes an Agent and reads what the one before it knew; it does nothing until Run.
func New(ctx context.Context, o Options) (*Agent, error) {
	if o.Store == nil || o.Sentinel == nil || o.Settings.Setup == nil {
		return nil, errors.New("agent: a store, a sentinel and settings are needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Agent{o: o, log: o.Log, inbox: newInbox(), set: o.Settings, survey: o.Settings.Survey,
		guests: map[health.Ref]*guest{}, shadows: map[health.Ref]health.Ref{}, metrics: newMetrics(o.Registerer), ready: make(chan struct{}), stopped: make(chan struct{})}
	for _, i := range o.Instances {
		s := i.Spec()
		in := &instance{Instance: i, asked: make(chan struct{}, 1), ref: health.Ref{Engine: s.Engine, Instance: s.Instance}}
		in.view = health.InstanceView{Engine: s.Engine, Instance: s.Instance, Where: i.Where()}
		a.inst = append(a.inst, in)
	}
	if err := a.takeOver(ctx); err != nil {
		return nil, err
	}
	a.poll.Store(int64(o.Settings.Poll))
	a.prober = newProber(a, o.Settings.Probes)
	a.hands = newHands(a)
	return a, nil
}

// Now is the time by which is decided, and by which alerts are due. It is ahead of the host's clock when that was set back.
func (a *Agent) Now() time.Time { return a.clock.now() }

// Run watches until ctx ends, then writes what is still to be written. Commands under way go on without it.
func (a *Agent) Run(ctx context.Context) {
	defer close(a.stopped)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	a.markTools()
	wg.Go(func() { a.watchTools(ctx) })
	wg.Go(func() { a.run(ctx, "sentinel", a.o.Sentinel.Run) })
	if a.o.Watcher != nil {
		wg.Go(func() { a.run(ctx, "host watcher", a.o.Watcher.Run) })
	}
	wg.Go(func() { a.pump(ctx) })
	wg.Go(func() { a.listen(ctx) })
	wg.Go(func() { a.prober.run(ctx) })
	wg.Go(func() { a.askBackups(ctx) })
	for _, in := range a.inst {
		wg.Go(func() { a.read(ctx, in) })
		wg.Go(func() { a.follow(ctx, in) })
	}
	a.hands.begin(ctx)
	defer a.hands.wait()
	a.load(ctx)
	a.loop(ctx)
}

func (a *Agent) run(ctx context.Context, what string, f func(context.Context) error) {
	if err := f(ctx); err != nil && ctx.Err() == nil {
		a.log.Error("a part of the agent ended by itself", "part", what, "err", err)
	}
}

// pump carries what the kernel says into the inbox. Who was at the containers is looked for at once, and beside it.
func (a *Agent) pump(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		var deaths []sentinel.Event
		select {
		case <-ctx.Done():
			return
		case e := <-a.o.Sentinel.Events():
			deaths = append(deaths, e)
		}
		for more := true; more; {
			select {
			case e := <-a.o.Sentinel.Events():
				deaths = append(deaths, e)
			default:
				more = false
			}
		}
		a.glimpse(&wg, deaths)
		for _, e := range deaths {
			a.inbox.put(func(t *turn) { t.died(e) })
		}
	}
}

// listen carries what the host says into the inbox. It may wait for PID 1; the decision goroutine never does.
func (a *Agent) listen(ctx context.Context) {
	if a.o.Watcher == nil {
		return
	}
	for {
		for _, in := range a.inst {
			w := a.o.Watcher.Word(in.Units(), in.Autostarter())
			in.word.Store(&w)
		}
		a.inbox.put(func(t *turn) { t.hostChanged() })
		select {
		case <-ctx.Done():
			return
		case <-a.o.Watcher.Changes():
		}
	}
}

// Swap puts new settings in place, whole.
func (a *Agent) Swap(s Settings) {
	a.inbox.put(func(t *turn) { t.swap(s) })
}

// Alive returns an error when the decision loop has not turned for so long that it must be taken as stuck.
func (a *Agent) Alive(within time.Duration) error {
	last := time.Unix(0, a.lastRun.Load())
	if d := time.Since(last); d > within {
		return errors.New("the decision loop has not turned for " + d.Round(time.Second).String())
	}
	return nil
}
