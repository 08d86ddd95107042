package engine_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// ignoresStop: a stop takes as long as vzctl waits, which the agent outlives, and is the same stop then.
func (v *vzTest) ignoresStop() {
	v.see()
	v.Update("101", func(c *scripted.Container) { c.Keys["ignores"] = "1s" })
	v.lateSuccess(health.VerbStop, health.Stopped)
	v.both("we stopped it", func(s health.Sighting) bool { return s.OnPurpose == "" && s.Detail == "" })
	v.must(health.VerbStart)
	started := time.Now().Truncate(time.Second)
	eventually(v.T, "the log can tell it from ours", func() bool { return time.Now().Truncate(time.Second).After(started) })
	person(v.T, v.Host, "vzctl", "stop", "101")
	v.both("a person did", func(s health.Sighting) bool { return strings.Contains(s.OnPurpose, "Stopping container") })
	v.Update("101", func(c *scripted.Container) { c.Keys["slow"] = "1s" })
	v.lateSuccess(health.VerbStart, health.Running)
}

// toolHangs: the list ends at its limit, and is no observation.
func (v *vzTest) toolHangs() {
	v.i = open(v.T, engine.Spec{Engine: "openvz", Bin: v.Bin(), Root: v.Root(), Timeout: 300 * time.Millisecond})
	list(v.T, v.i)
	v.Fault(scripted.Fault{On: "vzlist", Do: scripted.Hang})
	began := time.Now()
	if l, err := v.i.List(context.Background(), nil); err == nil || len(l.Containers) != 0 {
		v.Errorf("%+v", l)
	}
	if s, err := v.i.Look(context.Background(), "101", health.Process{}); err == nil {
		v.Errorf("%+v", s)
	}
	if took := time.Since(began); took > scripted.Patience(10*time.Second) {
		v.Errorf("it took %v", took)
	}
	v.Heal()
	v.both("healed", func(s health.Sighting) bool { return s.State == health.Running && s.Init.PID == v.InitPID("web1") })
}

// oneStalls: the private area of one lies on storage that does not answer.
func (v *vzTest) oneStalls() {
	v.i = open(v.T, engine.Spec{Engine: "openvz", Bin: v.Bin(), Root: v.Root(), Timeout: time.Second})
	for _, name := range []string{"web2", "web3"} {
		v.Make(name, made{})
	}
	list(v.T, v.i)
	mend := stall(v.T, v.File(scripted.VZPrivate("102")))
	for range 2 {
		l := list(v.T, v.i)
		if s := find(v.T, l, "101"); s.State != health.Running || s.Init.PID != v.InitPID("web1") || s.Mark == "" {
			v.Errorf("%+v", s)
		}
		if s := find(v.T, l, "103"); s.State != health.Stopped {
			v.Errorf("%+v", s)
		}
		if s := find(v.T, l, "102"); s.State != health.Unknown || s.Name != "web2" || s.Detail == "" || !strings.Contains(l.Degraded, "102") {
			v.Errorf("%+v, %q", s, l.Degraded)
		}
	}
	if s, err := v.i.Look(context.Background(), "102", health.Process{}); err == nil {
		v.Errorf("look: %+v", s)
	}
	mend()
	if l := list(v.T, v.i); l.Degraded != "" || find(v.T, l, "102").State != health.Stopped {
		v.Errorf("mended: %+v", l)
	}
	before := v.see()
	stall(v.T, v.File(scripted.VZPrivate("101"))) // of one that runs vzlist asks nothing, and we remember
	for range 2 {
		v.both("it runs", func(s health.Sighting) bool {
			return s.State == health.Running && s.Mark == before.Mark && s.Init == before.Init
		})
	}
}

func (v *vzTest) renames() {
	before := v.see()
	v.Rename("101", "shop")
	v.both("renamed", func(s health.Sighting) bool {
		return s.Name == "shop" && s.Ref == before.Ref && s.Mark == before.Mark && s.Init == before.Init && s.State == health.Running && s.Config != before.Config
	})
	if id, _, ok := v.i.Meaning([]string{"vzctl", "stop", "shop"}); id != "101" || !ok {
		v.Error("its new name is not known on a command line")
	}
	if _, _, ok := v.i.Meaning([]string{"vzctl", "stop", "web1"}); ok {
		v.Error("its old name is known still")
	}
}

// halfMade: vzctl create holds the lock until the configuration and the private area are there.
func (v *vzTest) halfMade() {
	pid, _ := sleeper(v.T)
	v.Make("new", made{})
	v.RemoveFile(scripted.VZPrivate("102"))
	v.WriteFile("/vz/lock/102.lck", fmt.Sprintf("%d\n\n", pid))
	if s := peek(list(v.T, v.i), "102"); s != nil {
		v.Errorf("its private area is being made: %+v", s)
	}
	v.WriteFile(scripted.VZPrivate("102")+"/etc/hostname", "new")
	if s := find(v.T, list(v.T, v.i), "102"); s.State != health.Stopped || s.Lock == nil || s.Lock.Dead {
		v.Errorf("it is all but made: %+v", s)
	}
}

// breaksItsConfig: it runs on; what is left of it is missing when it dies, and comes back with its configuration.
func (v *vzTest) breaksItsConfig() {
	before := v.see()
	conf, err := os.ReadFile(v.File("/etc/vz/conf/101.conf"))
	if err != nil {
		v.Fatal(err)
	}
	runsOn := func(s health.Sighting) bool {
		return s.State == health.Running && s.Init == before.Init && s.Mark == before.Mark && s.Config != before.Config
	}
	v.WriteFile("/etc/vz/conf/101.conf", "\x00\xff=\"\nNAME=(\n")
	v.both("garbage", runsOn)
	v.RemoveFile("/etc/vz/conf/101.conf")
	v.both("gone", runsOn)
	v.Kill9("101")
	if s := peek(list(v.T, v.i), "101"); s != nil || !v.i.Defined("101") {
		v.Errorf("it died without a configuration: %+v, defined %v", s, v.i.Defined("101"))
	}
	if s := v.see(); s.State != health.Missing || !strings.Contains(s.Detail, "101.conf") {
		v.Errorf("%+v", s)
	}
	if a := v.do(health.VerbStart); a.Cause != "Container config file does not exist (exit 14: it has no configuration)" {
		v.Errorf("%+v", a)
	}
	v.WriteFile("/etc/vz/conf/101.conf", string(conf))
	v.both("back", func(s health.Sighting) bool { return s.State == health.Stopped && s.OnPurpose == "" })
	v.must(health.VerbStart)
	awaitState(v.T, v.i, "101", health.Running)
}
