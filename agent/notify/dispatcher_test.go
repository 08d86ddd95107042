package notify_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"atalaya/agent/health"
	"atalaya/agent/notify"
	"atalaya/agent/store"
)

// A script is a receiver inside the bubble, where real sockets would stop the clock.
type script struct {
	name string
	do   func(ctx context.Context, m notify.Message, try int) error

	mu    sync.Mutex
	tries map[string]int
	got   []string // keys in the order in which they were taken
	at    []time.Time
	late  []time.Duration
	now   int
	most  int // at once
}

func (s *script) Name() string { return s.name }
func (s *script) Kind() string { return "script" }

func (s *script) Send(ctx context.Context, m notify.Message) (notify.Receipt, error) {
	s.mu.Lock()
	if s.tries == nil {
		s.tries = map[string]int{}
	}
	s.tries[m.Key]++
	try := s.tries[m.Key]
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	var err error
	if s.do != nil {
		err = s.do(ctx, m, try)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	if err != nil {
		return notify.Receipt{}, err
	}
	s.got, s.at, s.late = append(s.got, m.Key), append(s.at, time.Now()), append(s.late, m.Late)
	return notify.Receipt{Status: "ok", Remote: s.name}, nil
}

func (s *script) keys() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.got, " ")
}

func (s *script) tried(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries[key]
}

// A bench is a store, a dispatcher over it, and the virtual time in which they run.
type bench struct {
	t    *testing.T
	s    *store.Store
	d    *notify.Dispatcher
	stop func()
	reg  *prometheus.Registry
}

func newBench(t *testing.T, channels ...notify.Channel) *bench {
	t.Helper()
	s, _, err := store.Open(store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, s: s, reg: prometheus.NewRegistry()}
	b.start(s, channels...)
	t.Cleanup(func() { // inside the bubble, before the deferred of its test end
		b.stop()
		s.Close()
	})
	return b
}

func (b *bench) start(s *store.Store, channels ...notify.Channel) {
	b.d = notify.NewDispatcher(notify.DispatcherOptions{Store: s, Channels: channels, Registerer: b.reg, GiveUp: giveUp})
	b.stop = run(b.t, b.d)
}

func run(t *testing.T, d *notify.Dispatcher) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func (b *bench) queue(keys ...string) { // "channel:incident-seq"
	b.t.Helper()
	batch := store.Batch{At: time.Now()}
	for _, k := range keys {
		channel, key, _ := strings.Cut(k, ":")
		incident, _, _ := strings.Cut(key, "-")
		batch.Alerts = append(batch.Alerts, store.Queued{Channel: channel, Key: key, Due: time.Now(),
			Alert: health.Alert{Incident: incident, Summary: key}})
	}
	if err := b.s.Commit(b.t.Context(), batch); err != nil {
		b.t.Fatal(err)
	}
	b.d.Kick()
}

func (b *bench) rows(want string) {
	b.t.Helper()
	out, err := b.s.Outbox(b.t.Context(), true)
	if err != nil {
		b.t.Fatal(err)
	}
	var got []string
	for _, d := range out {
		state := "pending"
		if d.Dead {
			state = "dead"
		} else if !d.Sent.IsZero() {
			state = "sent"
		}
		got = append(got, d.Key+" "+state)
	}
	if s := strings.Join(got, ", "); s != want {
		b.t.Errorf("outbox: %s\nwant:   %s", s, want)
	}
}

func TestDeliversAtOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &script{name: "ops", do: func(_ context.Context, m notify.Message, try int) error {
			if m.Key == "A-1" && try <= 3 {
				return errors.New("connection refused")
			}
			return nil
		}}
		b := newBench(t, ops)
		began := time.Now()
		b.queue("ops:A-1", "ops:A-2", "ops:B-1", "ops:B-2")
		synctest.Wait()
		if ops.keys() != "B-1 B-2" || time.Since(began) != 0 {
			t.Errorf("at once: %q after %v", ops.keys(), time.Since(began))
		}
		if v := b.d.Channels(); len(v) != 1 || v[0].Name != "ops" || v[0].Pending != 2 || !v[0].Failing.Equal(began) || v[0].Err != "connection refused" {
			t.Errorf("what it has not delivered: %+v", v)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if ops.keys() != "B-1 B-2 A-1 A-2" {
			t.Errorf("later: %q", ops.keys())
		}
		b.rows("A-1 sent, A-2 sent, B-1 sent, B-2 sent")
		if v := b.d.Channels(); len(v) != 1 || v[0] != (health.ChannelView{Name: "ops"}) {
			t.Errorf("what it has not delivered: %+v", v)
		}
		out, _ := b.s.Outbox(t.Context(), true)
		if out[0].Tries != 4 || out[2].Tries != 1 || out[0].Receipt != "ok, ops" {
			t.Errorf("%+v", out[0])
		}
	})
}

// giveUp is short of the default of three days, because virtual days cost real seconds.
const giveUp = 12 * time.Hour

func TestGivesUpAfterDaysAndCanBeSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		ops := &script{name: "ops", do: func(context.Context, notify.Message, int) error {
			if broken.Load() {
				return errors.New("no route to host")
			}
			return nil
		}}
		b := newBench(t, ops)
		b.queue("ops:A-1", "ops:A-2")
		time.Sleep(giveUp - time.Hour)
		synctest.Wait()
		b.rows("A-1 pending, A-2 pending")
		if n := ops.tried("A-1"); n < 15 || n > 150 {
			t.Errorf("%d tries in 11 h: the backoff is not what it says", n)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		b.rows("A-1 dead, A-2 dead")
		out, err := b.s.Outbox(t.Context(), false)
		if err != nil || !strings.Contains(out[0].LastErr, "no route to host") {
			t.Fatalf("%+v, %v", out, err)
		}
		if err := b.s.Requeue(t.Context(), out[0].ID, time.Now()); err != nil {
			t.Fatal(err)
		}
		b.d.Kick()
		synctest.Wait()
		b.rows("A-1 pending, A-2 dead") // its days are counted anew
		broken.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.rows("A-1 sent, A-2 dead")
		if ops.late[0] < giveUp+time.Hour {
			t.Errorf("late by %v", ops.late[0])
		}
	})
}

func TestRefusedIsDeadAtOnceAndLaterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &script{name: "ops", do: func(_ context.Context, m notify.Message, try int) error {
			switch {
			case m.Key == "A-1":
				return notify.Refused{Err: errors.New("404 Not Found")}
			case m.Key == "B-1" && try == 1:
				return fmt.Errorf("wrapped: %w", notify.Later{Err: errors.New("429"), After: 17 * time.Minute})
			case m.Key == "C-1" && try < 3:
				panic("boo")
			}
			return nil
		}}
		b := newBench(t, ops)
		began := time.Now()
		b.queue("ops:A-1", "ops:A-2", "ops:B-1", "ops:C-1")
		synctest.Wait()
		b.rows("A-1 dead, A-2 sent, B-1 pending, C-1 pending")
		time.Sleep(16 * time.Minute)
		synctest.Wait()
		b.rows("A-1 dead, A-2 sent, B-1 pending, C-1 sent")
		time.Sleep(time.Minute)
		synctest.Wait()
		b.rows("A-1 dead, A-2 sent, B-1 sent, C-1 sent")
		if last := ops.at[len(ops.at)-1]; last.Sub(began) != 17*time.Minute {
			t.Errorf("asked for 17 min, came after %v", last.Sub(began))
		}
		if ops.tried("A-1") != 1 || ops.tried("B-1") != 2 {
			t.Errorf("tries: %v", ops.tries)
		}
	})
}

// A channel that answers slowly is asked by four at once, and no other channel waits for it.
func TestASlowChannelDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &script{name: "slow", do: func(ctx context.Context, _ notify.Message, _ int) error {
			select {
			case <-time.After(10 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		quick := &script{name: "quick"}
		b := newBench(t, slow, quick)
		began := time.Now()
		var keys []string
		for n := range 200 {
			keys = append(keys, fmt.Sprintf("slow:S%03d-1", n))
		}
		b.queue(append(keys, "quick:Q-1")...)
		synctest.Wait()
		if quick.keys() != "Q-1" || time.Since(began) != 0 {
			t.Errorf("quick: %q after %v", quick.keys(), time.Since(began))
		}
		time.Sleep(200 / 4 * 10 * time.Second)
		synctest.Wait()
		if len(slow.got) != 200 || slow.most != 4 {
			t.Errorf("slow took %d, at most %d at once", len(slow.got), slow.most)
		}
	})
}

// Stopping gives what is under way a moment, cancels the rest, and loses nothing.
func TestStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &script{name: "ops", do: func(ctx context.Context, m notify.Message, try int) error {
			wait := 2 * time.Second
			if m.Key == "B-1" && try == 1 {
				wait = time.Hour
			}
			select {
			case <-time.After(wait):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		b := newBench(t, ops)
		b.queue("ops:A-1", "ops:B-1", "ops:A-2")
		synctest.Wait()
		began := time.Now()
		b.stop()
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		b.rows("A-1 sent, B-1 pending, A-2 pending")
		if out, _ := b.s.Outbox(t.Context(), false); out[0].Tries != 0 || out[0].LastErr != "" {
			t.Errorf("being cancelled counts as a failure: %+v", out[0])
		}
		b.reg = prometheus.NewRegistry()
		b.start(b.s, ops)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b.rows("A-1 sent, B-1 sent, A-2 sent")
		if ops.tried("A-1") != 1 || ops.tried("B-1") != 2 {
			t.Errorf("tries: %v", ops.tries)
		}
	})
}

// The receiver took it, but the store cannot be told: it is not sent a second time while we know better. A successor does
// not, and sends it again with the same key.
func TestWhatCannotBeRecordedIsNotSentAgainAndAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, _, err := store.Open(store.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Commit(t.Context(), store.Batch{Alerts: []store.Queued{{Channel: "ops", Key: "A-1", Alert: health.Alert{Incident: "A"}}}})
		if err = errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		ro, err := store.OpenReadOnly(dir)
		if err != nil {
			t.Fatal(err)
		}
		ops := &script{name: "ops"}
		for life := 1; life <= 2; life++ {
			stop := run(t, notify.NewDispatcher(notify.DispatcherOptions{Store: ro, Channels: []notify.Channel{ops}, Log: slog.New(slog.DiscardHandler)}))
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if n := ops.tried("A-1"); n != life {
				t.Errorf("life %d: sent %d times", life, n)
			}
			stop()
		}
		ro.Close()
	})
}

// A channel that is gone from the configuration keeps its alerts, and gets them when it is back.
func TestSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := &script{name: "one"}, &script{name: "two"}
		b := newBench(t, one)
		b.queue("one:A-1", "two:A-1")
		time.Sleep(time.Minute)
		synctest.Wait()
		if one.keys() != "A-1" {
			t.Errorf("one got %q", one.keys())
		}
		out, err := b.s.Outbox(t.Context(), false)
		if err != nil || len(out) != 1 || !strings.Contains(out[0].LastErr, `channel "two" is not configured`) {
			t.Errorf("%+v, %v", out, err)
		}
		b.d.Swap([]notify.Channel{two})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if two.keys() != "A-1" {
			t.Errorf("two got %q", two.keys())
		}
	})
}

func TestDispatcherMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &script{name: "ops", do: func(_ context.Context, m notify.Message, _ int) error {
			if m.Key == "A-1" {
				return notify.Refused{Err: errors.New("no")}
			}
			return errors.New("not now")
		}}
		b := newBench(t, ops)
		b.queue("ops:A-1", "ops:B-1", "ops:C-1")
		synctest.Wait()
		mfs, err := b.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		if problems, err := promlint.NewWithMetricFamilies(mfs).Lint(); err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
		values := map[string]float64{}
		for _, mf := range mfs {
			for _, m := range mf.GetMetric() {
				name := mf.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
		for name, want := range map[string]float64{"atalaya_notify_pending_alerts ops": 2, "atalaya_notify_dead_letters ops": 1,
			"atalaya_notify_sends_total ops refused": 1, "atalaya_notify_sends_total ops failed": 2} {
			if values[name] != want {
				t.Errorf("%s = %v, want %v", name, values[name], want)
			}
		}
	})
}

// The whole way on real sockets and a real disk: a receiver that asks to come again, twice, and then takes it.
func TestEndToEnd(t *testing.T) {
	dir := t.TempDir()
	s, _, err := store.Open(store.Options{Dir: filepath.Join(dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	again := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	srv, got := receiver(t, again, again, code(200))
	d := notify.NewDispatcher(notify.DispatcherOptions{Store: s, Channels: []notify.Channel{hook(t, notify.WebhookSpec{Attach: true}, srv.URL), fileChannel(t, dir+"/alerts")}})
	stop := run(t, d)
	defer stop()
	a := testAlert()
	if err := s.AddBundle(t.Context(), bundle(t, 1, "evidence")); err != nil {
		t.Fatal(err)
	}
	far := time.Now().Add(time.Hour)
	err = s.Commit(t.Context(), store.Batch{At: time.Now(), Alerts: []store.Queued{{Channel: "ops", Key: "k1", Alert: a, Due: far}, {Channel: "log", Key: "k1", Alert: a, Due: far}}})
	if err != nil {
		t.Fatal(err)
	}
	d.Kick()
	if err := s.Advance(t.Context(), a.Incident, a.Seq, time.Now()); err != nil { // the evidence is sealed
		t.Fatal(err)
	}
	d.Kick()
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left, err := s.Outbox(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not delivered: %+v", left)
		}
	}
	qs := got()
	if len(qs) != 3 || qs[0].header.Get("Idempotency-Key") != "k1" || qs[2].header.Get("Idempotency-Key") != "k1" {
		t.Fatalf("%d requests", len(qs))
	}
	alert, bundles := opened(t, qs[2])
	validDocument(t, alert)
	if len(bundles) != 1 || !strings.Contains(string(alert), `"attempt":3`) {
		t.Errorf("%d bundles with %s", len(bundles), alert)
	}
	if len(lines(t, dir+"/alerts")) != 1 {
		t.Error("the file has not exactly one line")
	}
}
