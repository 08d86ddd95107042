package sentinel

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// bench is a sentinel with one forced sensor. Run is started by run, and ended with the test.
type bench struct {
	*Sentinel
	t   testing.TB
	reg *prometheus.Registry
}

func newBench(t testing.TB, o Options) *bench {
	t.Helper()
	if o.Force == sensorProc {
		rig.Require(t, "root") // CAP_NET_ADMIN
	}
	reg := prometheus.NewRegistry()
	o.Registerer, o.PollEvery = reg, 5*time.Millisecond
	s, err := New(o)
	must(t, err)
	return &bench{s, t, reg}
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
}

func (b *bench) watch(ref health.Ref, h *helper) health.Process {
	b.t.Helper()
	p, err := b.Watch(ref, health.Process{PID: h.pid()})
	must(b.t, err)
	return p
}

func (b *bench) next() Event {
	b.t.Helper()
	select {
	case e := <-b.Events():
		return e
	case <-time.After(20 * time.Second):
		b.t.Fatal("no event within 20 s")
		panic("unreachable")
	}
}

// none makes sure that nothing is reported but the death of one more process, which comes after whatever was to come.
func (b *bench) none() {
	b.t.Helper()
	last := start(b.t, "sit", 0)
	ref := health.Ref{Engine: "test", ID: "last"}
	b.watch(ref, last)
	last.signal()
	if e := b.next(); e.Ref != ref {
		b.t.Fatalf("unexpected event %+v", e)
	}
}

func ref(i int) health.Ref { return health.Ref{Engine: "test", ID: strconv.Itoa(i)} }

// TestSensors is the table that each of the three sensors has to pass.
func TestSensors(t *testing.T) {
	cases := map[string]func(t *testing.T, b *bench){
		"a killed process is reported once, before it is reaped": func(t *testing.T, b *bench) {
			b.run()
			h := start(t, "sit", 0)
			p := b.watch(ref(1), h)
			if p != h.process() || !b.Holds(ref(1), p) || !b.Holds(ref(1), health.Process{PID: p.PID}) {
				t.Fatalf("watched %+v, not %+v, or not held", p, h.process())
			}
			killed := time.Now()
			h.signal()
			e := b.next()
			want := Event{Ref: ref(1), Death: health.Death{Init: p, Sensor: b.o.Force}, At: e.At}
			if e != want || e.At.Before(killed) || e.At.After(time.Now()) {
				t.Fatalf("got %+v, want %+v between %v and now", e, want, killed)
			}
			if b.Holds(ref(1), p) {
				t.Fatal("a dead process is still held")
			}
			h.kill() // reaped: nothing more may come
			b.none()
		},
		"a process that exits is reported": func(t *testing.T, b *bench) {
			b.run()
			h := start(t, "sit", 0)
			b.watch(ref(1), h)
			must(t, h.stdin.Close())
			b.next()
		},
		"a death before Run is reported": func(t *testing.T, b *bench) {
			h := start(t, "sit", 0)
			b.watch(ref(1), h)
			h.kill()
			b.run()
			b.next()
		},
		"the dead are refused": func(t *testing.T, b *bench) {
			b.run()
			h := start(t, "sit", 0)
			p := h.process()
			h.signal()
			eventually(t, "it reads as ended", func() bool { return !Alive(p) })
			_, err := b.Watch(ref(1), p) // a zombie
			wantDead(t, err)
			h.kill()
			_, err = b.Watch(ref(1), p)
			wantDead(t, err)
			b.none()
		},
		"a pid with another owner is refused": func(t *testing.T, b *bench) {
			b.run()
			p := start(t, "sit", 0).process()
			p.Start--
			_, err := b.Watch(ref(1), p)
			wantDead(t, err)
			wantText(t, err, "another process")
			if b.Holds(ref(1), p) {
				t.Fatal("held")
			}
		},
		"watching twice reports once": func(t *testing.T, b *bench) {
			b.run()
			h := start(t, "sit", 0)
			p := b.watch(ref(1), h)
			if again := b.watch(ref(1), h); again != p {
				t.Fatalf("got %+v, then %+v", p, again)
			}
			h.signal()
			b.next()
			b.none()
		},
		"another process of the same container replaces the first": func(t *testing.T, b *bench) {
			b.run()
			first, second := start(t, "sit", 0), start(t, "sit", 0)
			p1, p2 := b.watch(ref(1), first), b.watch(ref(1), second)
			if b.Holds(ref(1), p1) || !b.Holds(ref(1), p2) {
				t.Fatal("the first is held, or the second is not")
			}
			first.kill()
			b.none()
			second.signal()
			if e := b.next(); e.Death.Init != p2 {
				t.Fatalf("got the death of %+v, want %+v", e.Death.Init, p2)
			}
			b.none()
		},
		"a dead successor does not replace": func(t *testing.T, b *bench) {
			b.run()
			h, dead := start(t, "sit", 0), start(t, "sit", 0)
			p, q := b.watch(ref(1), h), dead.process()
			dead.kill()
			_, err := b.Watch(ref(1), q)
			wantDead(t, err)
			if !b.Holds(ref(1), p) {
				t.Fatal("the living one was let go")
			}
		},
		"a forgotten one is not reported": func(t *testing.T, b *bench) {
			b.run()
			h := start(t, "sit", 0)
			p := b.watch(ref(1), h)
			b.Forget(ref(1))
			b.Forget(ref(1))
			if b.Holds(ref(1), p) {
				t.Fatal("still held")
			}
			h.kill()
			b.none()
		},
		"one process of two containers is reported for both": func(t *testing.T, b *bench) {
			b.run()
			h := start(t, "sit", 0)
			b.watch(ref(1), h)
			b.watch(ref(2), h)
			b.watch(ref(3), h)
			b.Forget(ref(3))
			h.signal()
			if got := map[health.Ref]bool{b.next().Ref: true, b.next().Ref: true}; !got[ref(1)] || !got[ref(2)] {
				t.Fatalf("got %v", got)
			}
		},
		"an exec is no death": func(t *testing.T, b *bench) {
			b.run()
			h := start(t, "exec", 0)
			p := b.watch(ref(1), h)
			_, err := h.stdin.Write([]byte{'\n'})
			must(t, err)
			h.ready()
			b.none()
			if !b.Holds(ref(1), p) {
				t.Fatal("not held any more")
			}
		},
		"a leader that ends before its threads is no death": func(t *testing.T, b *bench) {
			b.run()
			h := start(t, "leaderless", 0)
			eventually(t, "the leader has ended", func() bool { s, err := readStat(h.pid()); return err == nil && s.state == 'Z' })
			p := b.watch(ref(1), h)
			b.none()
			if !b.Holds(ref(1), p) {
				t.Fatal("reported too early")
			}
			must(t, h.stdin.Close())
			if e := b.next(); e.Ref != ref(1) {
				t.Fatalf("got %+v", e)
			}
		},
		"a reader who sleeps loses nothing": func(t *testing.T, b *bench) {
			b.run()
			const n = 60
			for i := range n {
				h := start(t, "sit", 0)
				b.watch(ref(i), h)
				h.signal()
			}
			eventually(t, "all are let go", func() bool { return testutil.ToFloat64(b.metrics.watched) == 0 })
			seen := map[health.Ref]int{}
			for range n {
				seen[b.next().Ref]++
			}
			for i := range n {
				if seen[ref(i)] != 1 {
					t.Errorf("%v was reported %d times", ref(i), seen[ref(i)])
				}
			}
			if got := testutil.ToFloat64(b.metrics.deaths.WithLabelValues(b.o.Force)); got != n {
				t.Errorf("counted %v deaths, want %d", got, n)
			}
		},
	}
	for _, sensor := range []string{sensorPidfd, sensorProc, sensorPoll} {
		t.Run(sensor, func(t *testing.T) {
			t.Parallel()
			for name, test := range cases {
				t.Run(name, func(t *testing.T) { test(t, newBench(t, Options{Force: sensor})) })
			}
		})
	}
}

// TestOverflow has the kernel drop exit events, that of the watched process among them.
func TestOverflow(t *testing.T) {
	b := newBench(t, Options{Force: sensorProc, buffer: 1})
	h := start(t, "sit", 0)
	b.watch(ref(1), h)
	for range 60 { // each exit is an event that nobody takes yet
		must(t, exec.Command("/bin/true").Run())
	}
	p := h.process()
	h.signal()
	eventually(t, "it has ended, unheard", func() bool { return !Alive(p) })
	b.run()
	b.next()
	if testutil.ToFloat64(b.metrics.overflows) == 0 {
		t.Fatal("no overflow was counted: the test does not test what it says")
	}
}

// TestASensorThatFailsIsReplaced takes the epoll away from under it.
func TestASensorThatFailsIsReplaced(t *testing.T) {
	b := newBench(t, Options{Force: sensorPidfd})
	alive, dead := start(t, "sit", 0), start(t, "sit", 0)
	p := b.watch(ref(1), alive)
	b.watch(ref(2), dead)
	sensor := b.sensor.(*pidfds)
	dead.kill()
	sensor.close() // EBADF from now on
	b.run()
	if e := b.next(); e.Ref != ref(2) {
		t.Fatalf("got %+v", e)
	}
	if b.Sensor() != sensorPoll || !b.Holds(ref(1), p) {
		t.Fatalf("sensor %q, held %v", b.Sensor(), b.Holds(ref(1), p))
	}
	alive.signal()
	if e := b.next(); e.Ref != ref(1) || e.Death.Sensor != sensorPoll {
		t.Fatalf("got %+v", e)
	}
}

func TestChoosesTheBest(t *testing.T) {
	b := newBench(t, Options{})
	if b.Sensor() != sensorPidfd {
		t.Errorf("took %q", b.Sensor())
	}
	_, err := New(Options{Force: "guess"})
	wantText(t, err, `notice deaths by "guess": no such sensor`)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	must(t, b.Run(ctx))
	if _, err := b.Watch(ref(1), health.Process{PID: 1}); !errors.Is(err, errEnded) {
		t.Errorf("Watch after Run: %v", err)
	}
	b.Forget(ref(1))
}

func TestMetricsAreClean(t *testing.T) {
	b := newBench(t, Options{})
	b.metrics.deaths.WithLabelValues(sensorPidfd)
	families, err := b.reg.Gather()
	must(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	must(t, err)
	if len(problems) > 0 || len(families) != 4 {
		t.Fatalf("%d families, problems %v", len(families), problems)
	}
}
