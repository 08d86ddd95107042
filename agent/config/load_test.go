package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
)

// message is what Load says about the file at path.
func message(t *testing.T, path string) string {
	t.Helper()
	c, err := Load(path)
	var all Errors
	if c != nil || !errors.As(err, &all) {
		t.Fatalf("Load(%q) gives %v, %v", path, c, err)
	}
	return strings.ReplaceAll(err.Error(), path, "FILE")
}

func TestFilesThatAreNone(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "FILE: cannot be read: no such file or directory",
		dir:                             "FILE: is a folder: give the path of a file",
		pipe:                            "FILE: is not a regular file (a pipe, a socket or a device)",
		"/dev/zero":                     "FILE: is not a regular file (a pipe, a socket or a device)",
		write(t, "# "+strings.Repeat("x", MaxSize)):      "FILE: has more than 1048576 bytes",
		write(t, "poll: 10s\x00\n"):                      "FILE:1: is not YAML: control characters are not allowed",
		write(t, "a: &a [*a]\npoll: 1s\n"):               `FILE:1: a: unknown key; use host, mode, poll, poll_held, engines, defaults, containers, windows, schedules, probes, channels, evidence, store, web, control, limits, host_wide, housekeeping, log`,
		write(t, "x-a: &a {<<: *a, b: 1}\nhost: *a\n"):   "FILE:1: host: << nests more than 16 deep",
		write(t, "x-a: &a [*a]\ndefaults: {notify: *a}"): "FILE:1: defaults.notify[0]: must be one value, not a list",
	} {
		if got := message(t, path); got != want && !strings.HasPrefix(got, want+"\n") {
			t.Errorf("%s:\n%s\nwant\n%s", path, got, want)
		}
	}
}

func TestAliasesThatExplodeAreStopped(t *testing.T) {
	clean(t)
	var b strings.Builder
	b.WriteString("x-0: &x0 [ops, ops, ops, ops, ops, ops, ops, ops, ops, ops]\n")
	b.WriteString("x-1: &m0 {a: 1}\n")
	for i := 1; i < 9; i++ { // 10^9 keys
		b.WriteString(strings.NewReplacer("N", string(rune('0'+i)), "P", string(rune('0'+i-1))).Replace(
			"x-mN: &mN {<<: [*mP, *mP, *mP, *mP, *mP, *mP, *mP, *mP, *mP, *mP]}\n"))
	}
	b.WriteString("host: *m8\n")
	path := write(t, b.String())
	began := time.Now()
	got := message(t, path)
	if !strings.Contains(got, "has more than 200000 values") || time.Since(began) > 20*time.Second {
		t.Errorf("after %s: %.200s", time.Since(began), got)
	}
}

func TestFilesThatSayNothing(t *testing.T) {
	clean(t)
	want := render(t, builtInConfig(t))
	for _, content := range []string{"", "\n", "# nothing\n", "---\n", "~\n", "{}\n", "\ufeffpoll: 10s\n", "store:\ndefaults:\n  budget:\ncontainers:\n", "x-a: &a {b: c}\n", "poll: 10s\n---\n"[:10]} {
		if got := render(t, loaded(t, content)); got != want {
			t.Errorf("%q gives\n%s", content, got)
		}
	}
}

func TestAnchorsAndMerges(t *testing.T) {
	clean(t)
	c := loaded(t, `
x-quick: &quick {every: 5s, timeout: 1s, fail_after: 2}
x-db: &db
  want: yes
  budget: &small {attempts: 2}
probes:
  - {<<: *quick, name: ping, kind: icmp, timeout: 2s}
containers:
  - {<<: [*db], match: {name: db1}, probes: [ping]}
  - {match: {name: db2}, budget: *small}
`)
	one, two := c.For(sighting("db1")), c.For(sighting("db2"))
	if one.Policy.Want != health.Yes || one.Policy.Attempts != 2 || one.Policy.Probes["ping"].FailAfter != 2 || one.Probes[0].Timeout != 2*time.Second {
		t.Errorf("db1: %+v", one)
	}
	if two.Policy.Attempts != 2 || two.Policy.Want != health.Maybe {
		t.Errorf("db2: %+v", two)
	}
}

func TestWithoutAnyFile(t *testing.T) {
	clean(t)
	if _, err := os.Lstat(DefaultPath); err == nil {
		t.Skipf("%s exists on this machine: the built-in defaults are tested with an empty file alone", DefaultPath)
	}
	c, err := Load("")
	if err != nil || c.Path != "" || len(c.Engines) != 0 || len(c.Channels) != 0 || c.Mode != health.ModeHeal || c.Secrets == nil {
		t.Fatalf("%+v, %v", c, err)
	}
	p := c.For(sighting("any")).Policy
	if p.Mode != health.ModeHeal || p.Want != health.Maybe {
		t.Errorf("%+v: with autostart on it heals, for the rest it alerts", p)
	}
}

func TestEnvironment(t *testing.T) {
	clean(t)
	path := write(t, "mode: heal\nstore: {dir: /a, max_bytes: 1GiB}\n")
	t.Setenv(PathVariable, path)
	t.Setenv("ATALAYA_MODE", "observe")
	t.Setenv("ATALAYA_STORE_MAX_BYTES", "2GiB")
	t.Setenv("ATALAYA_POLL", "20s")
	t.Setenv("ATALAYA_LIMITS_STARTS", "8")
	t.Setenv("ATALAYA_DEFAULTS_BUDGET_ATTEMPTS", "7")
	t.Setenv("ATALAYA_HOST_SITE", "") // as if it were not there
	c, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	if c.Path != path || c.Mode != health.ModeObserve || c.Store.Dir != "/a" || c.Store.MaxBytes != 2<<30 || c.Poll != 20*time.Second || c.Limits.Starts != 8 {
		t.Errorf("%+v", c)
	}
	if got := c.For(sighting("a")).Policy; got.Attempts != 7 || got.Mode != health.ModeObserve {
		t.Errorf("%+v", got)
	}
}

func TestEnvironmentMistakes(t *testing.T) {
	clean(t)
	t.Setenv("ATALAYA_MDOE", "observe")
	t.Setenv("ATALAYA_POLL", "10")
	t.Setenv("ATALAYA_DEFAULTS_BUDGET_RETRY_MAX", "1m")
	want := `FILE:1: mode: "hael" is not known; did you mean "heal"?
environment: ATALAYA_DEFAULTS_BUDGET_RETRY_MAX: retry_max, 1m, is shorter than retry_min, 30m
environment: ATALAYA_MDOE: no such setting; did you mean "ATALAYA_MODE"?
environment: ATALAYA_POLL: 10 has no unit: write 10s if you mean seconds`
	if got := message(t, write(t, "mode: hael\n")); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWarnings(t *testing.T) {
	clean(t)
	path := write(t, `
probes: [{name: lonely, kind: icmp}]
channels:
  - {name: ops, kind: webhook, url: "https://h.example.net/", secret: 0123456789abcdef, headers: [{name: Accept, value: text/html}]}
`)
	warnings := func() string {
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, p := range c.Warnings {
			lines = append(lines, strings.ReplaceAll(p.String(), path, "FILE"))
		}
		return strings.Join(lines, "\n")
	}
	unused := `FILE:2: probes[0]: the probe "lonely" is not used: name it in defaults.probes or in a rule of containers`
	if got := warnings(); got != unused {
		t.Errorf("got\n%s", got)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	want := unused + "\nFILE:4: channels[0].secret: is written in a file that everybody on this host can read: run chmod 0640 FILE, " +
		"or give it as file:/PATH, env:NAME or credential:NAME"
	if got := warnings(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
