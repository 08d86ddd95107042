package engine_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// Starts of systemd-nspawn: that fail, that lie, that take long.

func (b *nspawnBench) failsToStart(t *testing.T) {
	b = b.beside(t)
	b.up(t, "db1")
	settings := func(more string) func(name string) {
		return func(name string) { b.Settings(name, "[Exec]\nPrivateUsers=no\nLinkJournal=no\n"+more) }
	}
	unit := func(more string) func(name string) { return func(name string) { b.DropIn(name, more) } }
	gone := func(paths ...string) func(name string) {
		return func(name string) {
			for _, p := range paths {
				if err := os.RemoveAll(filepath.Join(b.Root(name), p)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, c := range []struct {
		name, want string
		spoil      func(name string)
	}{
		{"no-system", "os-release file is missing", gone("etc/os-release", "usr")},
		{"no-folder", "No image for machine 'no-folder'", func(name string) { b.Enable(name); gone(".")(name) }},
		{"no-bridge", "to bridge br9: No such device", settings("[Network]\nBridge=br9\n")},
		{"no-source", "/nosuch", settings("[Files]\nBind=/nosuch\n")},
		{"no-interface", "eth9", settings("[Network]\nInterface=eth9\n")},
		{"bad-unit", "bad unit file setting", unit("[Service]\nExecStart=\n")},
		{"hook-fails", "the hook says no", unit("[Service]\nExecStartPre=sh -c 'echo the hook says no; exit 5'\n")},
		{"no-program", "/nosuch/program", unit("[Service]\nExecStartPre=/nosuch/program\n")},
		{"is-masked", "is masked", func(name string) { b.Nspawn.Run("systemctl", "mask", "--runtime", "--quiet", "systemd-nspawn@"+name) }},
		{"busy", "busy", unit("[Service]\nExecStart=\nExecStart=systemd-nspawn --quiet --keep-unit --boot --directory=/var/lib/machines/db1 --machine=busy\n")},
		{"name-taken", "(vb-db2:host0): File exists", unit("[Service]\nExecStart=\nExecStart=systemd-nspawn --quiet --keep-unit --boot --directory=/var/lib/machines/name-taken --machine=db2\n")},
	} {
		b.made(t, c.name)
		c.spoil(c.name)
		list(t, b.i)
		a := b.i.Do(context.Background(), health.VerbStart, c.name, 0)
		if a.Err == "" || a.Already || !strings.Contains(a.Cause, c.want) {
			t.Errorf("%s: cause %q, err %q, want %q", c.name, a.Cause, a.Err, c.want)
		}
		if s := look(t, b.i, c.name); s.State == health.Running {
			t.Errorf("%s: %+v", c.name, s)
		}
		_, _ = b.Attempt("systemctl", "unmask", "--runtime", "--quiet", "systemd-nspawn@"+c.name)
	}
}

// What ended too often is refused until its failures are forgotten, which is the repair. (A daemon-reload forgets, too.)
func (b *nspawnBench) isRepaired(t *testing.T) {
	b = b.on(t)
	b.made(t, "often")
	b.DropIn("often", "[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=1000\n")
	before := b.up(t, "often")
	b.Kill9("often")
	ends(t, before)
	if s, err := b.i.Look(context.Background(), "often", before); err != nil || s.State != health.Stopped {
		t.Fatalf("%+v %v", s, err)
	}
	if a := b.i.Do(context.Background(), health.VerbStart, "often", 0); a.Err == "" || !strings.Contains(a.Cause, "Start request repeated too quickly") {
		t.Errorf("%+v", a)
	}
	if s := look(t, b.i, "often"); s.State != health.Stopped || s.OnPurpose != "" {
		t.Errorf("%+v", s)
	}
	for _, v := range []health.Verb{health.VerbRepair, health.VerbStart} {
		if a := b.i.Do(context.Background(), v, "often", 0); a.Err != "" {
			t.Errorf("%s: %+v", v, a)
		}
	}
	awaitState(t, b.i, "often", health.Running)
}

// systemd is told that a machine is ready before its init is begun.
func (b *nspawnBench) startLies(t *testing.T) {
	b = b.beside(t)
	for name, script := range map[string]string{"liar": "#!/bin/sh\nexit 3\n", "no-init": "#!/nosuch/sh\n"} {
		b.made(t, name)
		init := filepath.Join(b.Root(name), "sbin/init")
		if err := os.Remove(init); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(init, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		if a := b.i.Do(context.Background(), health.VerbStart, name, 0); a.Err != "" {
			t.Errorf("%+v", a)
		}
		awaitState(t, b.i, name, health.Stopped)
		want := map[string]string{"liar": "failed: exit-code 3", "no-init": "failed: exit-code 1"}[name]
		if s := find(t, list(t, b.i), name); s.State != health.Stopped || s.Detail != want || s.OnPurpose != "" {
			t.Errorf("%+v, want %q", s, want)
		}
	}
}

// While a job of systemd is at work it holds the machine. A start that outlives its limit goes on, and is then found done.
func (b *nspawnBench) locked(t *testing.T) {
	b = b.beside(t)
	b.made(t, "late")
	gate := filepath.Join(t.TempDir(), "gate")
	b.DropIn("late", "[Service]\nExecStartPre=sh -c ': > "+gate+".in; until [ -e "+gate+" ]; do sleep 0.05; done'\n")
	list(t, b.i)
	ended := make(chan engine.Answer, 1)
	go func() { ended <- b.i.Do(context.Background(), health.VerbStart, "late", time.Second) }()
	eventually(t, "it is being started", func() bool { return there(gate + ".in") })
	for what, s := range map[string]health.Sighting{"list": find(t, list(t, b.i), "late"), "look": look(t, b.i, "late")} {
		if s.State != health.Busy || s.Lock == nil || !strings.HasPrefix(s.Lock.Operation, "start job ") || time.Since(s.Lock.Since) > time.Minute || s.Lock.Dead {
			t.Errorf("%s: %+v, %+v", what, s, s.Lock)
		}
	}
	if a := <-ended; !a.Transcript.TimedOut || a.Err == "" {
		t.Errorf("%+v", a)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	awaitState(t, b.i, "late", health.Running)
	if s := find(t, list(t, b.i), "late"); s.Lock != nil {
		t.Errorf("%+v", s.Lock)
	}
}

func there(path string) bool { _, err := os.Stat(path); return err == nil }
