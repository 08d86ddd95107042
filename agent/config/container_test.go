package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"atalaya/agent/health"
)

func sighting(name string, tags ...string) health.Sighting {
	return health.Sighting{Ref: health.Ref{Engine: "lxc", ID: name}, Name: name, Tags: tags}
}

const layered = `mode: alert
defaults:
  want: yes
  budget: {attempts: 3, delays: [1s]}
  probes: [ping]
containers:
  - match: {name: "web*"}
    mode: observe
    stop_timeout: 2m
    probes:
      - name: ping
        every: 5s
      - {name: web, kind: http, port: 80, path: /healthz}
  - match: {name: [web2, web3]}
    mode: heal
    budget: {attempts: 9}
    probes: [{name: web, port: 8080}]
    notify: []
  - match: {name: web3}
    probes: []
    ignore: true
  - match: {tag: gold}
    mode: heal
    want: no
  - match: {instance: backup}
    runbook: ask the backup desk
probes:
  - {name: ping, kind: icmp, timeout: 1s, on_fail: alert}
`

func TestLaterLayersWinKeyByKey(t *testing.T) {
	clean(t)
	c := loaded(t, layered)
	db := c.For(sighting("db1"))
	if p := db.Policy; p.Mode != health.ModeAlert || p.Want != health.Yes || p.Attempts != 3 || !slices.Equal(p.Delays, []time.Duration{time.Second}) ||
		p.Window != 30*time.Minute || p.StopWithin != time.Minute || p.LookWithin != health.DefaultPolicy().LookWithin {
		t.Errorf("db1: %+v", p)
	}
	if db.Notify != nil || len(db.Probes) != 1 || db.Policy.Probes["ping"].OnFail != health.FailAlert || db.Policy.Probes["ping"].Every != 10*time.Second {
		t.Errorf("db1: %+v", db)
	}
	one := c.For(sighting("web1"))
	if p := one.Policy; p.Mode != health.ModeObserve || p.StopWithin != 2*time.Minute || p.Probes["ping"].Every != 5*time.Second ||
		p.Probes["ping"].OnFail != health.FailAlert || p.Probes["web"].FailAfter != 3 {
		t.Errorf("web1: %+v", p)
	}
	if one.Probes[0].Timeout != time.Second || one.Probes[1].Timeout != 3*time.Second || one.Probes[1].Port != 80 {
		t.Errorf("web1: %+v", one.Probes)
	}
	two := c.For(sighting("web2"))
	if two.Policy.Mode != health.ModeAlert || two.Policy.Attempts != 9 || two.Notify == nil || len(two.Notify) != 0 ||
		two.Probes[1].Port != 8080 || two.Probes[1].Path != "/healthz" {
		t.Errorf("web2: %+v", two)
	}
	if three := c.For(sighting("web3")); len(three.Probes) != 0 || len(three.Policy.Probes) != 0 || !three.Ignore {
		t.Errorf("web3: %+v", three)
	}
	backup := c.For(health.Sighting{Ref: health.Ref{Engine: "lxc", Instance: "backup", ID: "b"}, Name: "b"})
	if backup.Runbook != "ask the backup desk" || db.Runbook != "" {
		t.Errorf("backup: %+v", backup)
	}
}

// Tags may be set by who rents the container.
func TestTagLowersTheModeAndNeverRaisesIt(t *testing.T) {
	clean(t)
	c := loaded(t, "defaults: {mode: alert}\ncontainers:\n  - {match: {tag: heal-me}, mode: heal}\n  - {match: {tag: leave-me}, mode: observe}\n")
	for tag, want := range map[string]health.Mode{"heal-me": health.ModeAlert, "leave-me": health.ModeObserve, "": health.ModeAlert} {
		if got := c.For(sighting("c", tag)).Policy.Mode; got != want {
			t.Errorf("%q: %s, want %s", tag, got, want)
		}
	}
}

func TestTraceNamesThePlaceOfEveryKey(t *testing.T) {
	clean(t)
	t.Setenv("ATALAYA_DEFAULTS_SETTLE", "7s")
	c := loaded(t, layered)
	got := strings.ReplaceAll(strings.Join(c.For(sighting("web2", "gold")).Trace, "\n"), filepath.Dir(c.Path)+"/", "")
	want := `mode = alert  (x.yaml:1, mode)
want = no  (x.yaml:24, containers[3])
budget.attempts = 9  (x.yaml:16, containers[1])
budget.window = 30m  (built-in)
budget.delays = [1s]  (x.yaml:4, defaults)
budget.retry_min = 30m  (built-in)
budget.retry_max = 6h  (built-in)
budget.forget = 15m  (built-in)
defer_to_supervisor = 60s  (built-in)
repair = true  (built-in)
unlock = never  (built-in)
lock_limits.backup = 6h  (built-in)
lock_limits.snapshot = 1h  (built-in)
lock_limits.move = 2h  (built-in)
lock_limits.other = 1h  (built-in)
flapping.high = 30  (built-in)
flapping.low = 20  (built-in)
stop_timeout = 2m  (x.yaml:9, containers[0])
start_timeout = 3m  (built-in)
settle = 7s  (environment, ATALAYA_DEFAULTS_SETTLE)
priority = 0  (built-in)
notify = []  (x.yaml:18, containers[1])
probes.ping.kind = icmp  (x.yaml:28, probes[0])
probes.ping.every = 5s  (x.yaml:12, containers[0])
probes.ping.timeout = 1s  (x.yaml:28, probes[0])
probes.ping.fail_after = 3  (built-in)
probes.ping.pass_after = 2  (built-in)
probes.ping.grace = 2m  (built-in)
probes.ping.on_fail = alert  (x.yaml:28, probes[0])
probes.web.kind = http  (x.yaml:13, containers[0])
probes.web.port = 8080  (x.yaml:17, containers[1])
probes.web.every = 10s  (built-in)
probes.web.timeout = 3s  (built-in)
probes.web.fail_after = 3  (built-in)
probes.web.pass_after = 2  (built-in)
probes.web.grace = 2m  (built-in)
probes.web.on_fail = restart  (built-in)
probes.web.path = /healthz  (x.yaml:13, containers[0])`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A definition with a kind replaces an earlier probe of its name whole; one without takes the earlier, or the definition.
func TestProbesOfOneName(t *testing.T) {
	clean(t)
	c := loaded(t, `
containers:
  - {match: {name: "a*"}, probes: [{name: main, kind: http, path: /a, every: 5s}]}
  - {match: {name: ab}, probes: [{name: main, kind: tcp, port: 25}]}
  - {match: {name: "*"}, probes: [{name: main, timeout: 2s}]}
`)
	for name, want := range map[string]string{"a1": "http/a 5s 2s", "ab": "tcp 10s 2s", "zz": "http/a 5s 2s"} {
		got := c.For(sighting(name))
		p := got.Probes[0]
		if s := fmt.Sprint(p.Kind, p.Path, " ", got.Policy.Probes["main"].Every, " ", p.Timeout); s != want || len(got.Probes) != 1 {
			t.Errorf("%s: %s, want %s", name, s, want)
		}
	}
}

// Load judges every rule on its own; what two of them make together is judged when they meet.
func TestRulesThatContradictEachOther(t *testing.T) {
	clean(t)
	c := loaded(t, `
probes: [{name: p, kind: tcp, port: 25}]
containers:
  - {match: {name: "a*"}, probes: [{name: p, kind: http, target: "192.0.2.1:80"}, {name: q, kind: icmp}]}
  - {match: {name: "*b"}, probes: [{name: p, port: 81}]}
`)
	got := c.For(sighting("ab"))
	if len(got.Problems) != 1 || !strings.Contains(got.Problems[0], `probe "p" is left out: port`) || len(got.Probes) != 1 || len(got.Policy.Probes) != 1 {
		t.Errorf("%+v", got)
	}
	if fine := c.For(sighting("b")); len(fine.Problems) != 0 || fine.Probes[0].Port != 81 {
		t.Errorf("%+v", fine)
	}
}

func TestForIsSafeForConcurrentUse(t *testing.T) {
	clean(t)
	c, names := loaded(t, layered), []string{"web1", "web2", "web3", "db1"}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 100 {
				s := sighting(names[i%len(names)])
				if got := c.For(s); i < len(names) && !reflect.DeepEqual(got, loaded(t, layered).forgetFile(c).For(s)) {
					t.Errorf("%s: For gives another answer", s.Name)
				}
			}
		})
	}
	wg.Wait()
}

// forgetFile takes on the path of another, which stands in every trace.
func (c *Config) forgetFile(other *Config) *Config {
	c.origin.file = other.origin.file
	return c
}

// What is remembered is bounded: with tags, tenants could make any number of combinations.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	clean(t)
	var b strings.Builder
	b.WriteString("containers:\n")
	for i := range 12 {
		fmt.Fprintf(&b, "  - {match: {tag: t%d}, runbook: %d}\n", i, i)
	}
	c := loaded(t, b.String())
	for i := range 1 << 12 {
		var tags []string
		last := ""
		for bit := range 12 {
			if i&(1<<bit) != 0 {
				last = strconv.Itoa(bit)
				tags = append(tags, "t"+last)
			}
		}
		if got := c.For(sighting("a", tags...)).Runbook; got != last {
			t.Fatalf("%v: %q", tags, got)
		}
	}
	if n := len(c.known.byRules); n != maxAnswers {
		t.Errorf("%d are remembered", n)
	}
}

func BenchmarkForNew(b *testing.B) {
	c := loaded(b, layered)
	for b.Loop() {
		c.compose([]int{0, 1, 3})
	}
}

func BenchmarkFor(b *testing.B) {
	c := loaded(b, layered)
	s := sighting("web2", "gold")
	b.ReportAllocs()
	for b.Loop() {
		c.For(s)
	}
}

// What is said of other supervisors, locks and cures holds.
func TestSupervisorsLocksAndCures(t *testing.T) {
	c := loaded(t, "defaults: {defer_to_supervisor: never, repair: false, unlock: dead, lock_limits: {backup: 12h}}\n")
	p := c.For(sighting("web1")).Policy
	if p.DeferFor >= 0 || p.Repair || !p.Unlock || p.LockLimits.Backup != 12*time.Hour || p.LockLimits.Other != time.Hour {
		t.Errorf("%+v", p)
	}
	if p := loaded(t, "").For(sighting("web1")).Policy; p.DeferFor != health.DefaultPolicy().DeferFor {
		t.Errorf("%+v", p)
	}
}
