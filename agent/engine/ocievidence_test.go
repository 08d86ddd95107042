package engine_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// What docker and podman show of a container, and what comes of answers that nobody expects.

// ociKeeps: each source can be had, in time, and tells of this container.
func ociKeeps(h ociHost, t *testing.T) {
	r, i, w := h.on(t)
	r.Make("web")
	r.Start("web")
	id := r.ID("web")
	s := find(t, list(t, i), id)
	r.Run("kill", "--signal=HUP", "web")
	eventually(t, "it prints", func() bool { return strings.Contains(r.Run("logs", "web"), "reloaded") })
	r.Run("stop", "-t", "5", "web")
	tells := map[string]string{"inspect.json": id, "logs.txt": "reloaded", "events.txt": "start", "ps.txt": "Exited", "info.txt": "runc"}
	for _, src := range i.Evidence(id, s) {
		began := time.Now()
		said := ociShows(t, w, src, r)
		name := strings.TrimPrefix(src.Name, h.name+"-")
		if time.Since(began) > 10*time.Second || tells[name] == "" || !strings.Contains(said, tells[name]) {
			t.Errorf("%s, after %v: %q", src.Name, time.Since(began), said)
		}
		delete(tells, name)
	}
	if len(tells) > 0 {
		t.Errorf("left out: %v", tells)
	}
}

// ociShows reads a source, as far as a reader would.
func ociShows(t *testing.T, w engine.Runner, src engine.Source, r *rig.OCI) string {
	t.Helper()
	if src.Path != "" {
		f, err := os.Open(src.Path)
		ociMust(t, err)
		defer func() { _ = f.Close() }()
		info, err := f.Stat()
		ociMust(t, err)
		b, err := io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-int64(src.Tail)), int64(src.Tail)))
		ociMust(t, err)
		return string(b)
	}
	out := w.Read(context.Background(), hostexec.Command{Argv: src.Argv, Env: r.Env(), Timeout: 15 * time.Second})
	if out.Failure != "" || !out.OK() {
		t.Errorf("%s: %v", src.Name, out.Err())
	}
	return string(out.Stdout) + string(out.Stderr)
}

// ociKeepsFlood: a log of one line that has no end is shown all the same, in time and within bounds.
func ociKeepsFlood(h ociHost, t *testing.T) {
	r, i, w := h.on(t)
	r.MakeCommand("flood", []string{"sh", "-c", "dd if=/dev/zero bs=1M count=32 2>/dev/null | tr '\\0' x; touch /said; sleep 1000"})
	r.Start("flood")
	id := r.ID("flood")
	list(t, i)
	eventually(t, "it has said all", func() bool { _, err := r.Try("exec", "flood", "test", "-e", "/said"); return err == nil })
	logs := i.Logs(id)
	if len(logs) != 1 || !i.KeepsLogs() || !slices.ContainsFunc(i.Evidence(id, health.Sighting{}), func(s engine.Source) bool {
		return s.Name == logs[0].Name && s.Path == logs[0].Path && slices.Equal(s.Argv, logs[0].Argv)
	}) {
		t.Fatalf("%+v", logs)
	}
	began := time.Now()
	said := ociShows(t, w, logs[0], r)
	if took := time.Since(began); !strings.Contains(said, "xxxx") || len(said) > hostexec.DefaultMaxOut+1000 || took > 15*time.Second {
		t.Errorf("%d bytes after %v", len(said), took)
	}
}

// garbled is a Runner whose answers were changed.
type garbled struct {
	engine.Runner
	change []garbling
}

type garbling struct {
	re   *regexp.Regexp
	with string
}

func (g garbled) Read(ctx context.Context, c hostexec.Command) hostexec.Transcript {
	out := g.Runner.Read(ctx, c)
	for _, x := range g.change {
		out.Stdout = x.re.ReplaceAll(out.Stdout, []byte(x.with))
	}
	out.StdoutSize = int64(len(bytes.TrimSpace(out.Stdout)))
	return out
}

// ociStrange changes what the real tool says, in list and inspect: it is survived, and what means nothing is told once.
func ociStrange(h ociHost, t *testing.T) {
	r, _, w := h.on(t)
	r.Make("web")
	r.Start("web")
	r.Make("odd")
	r.Start("odd")
	web, odd := r.ID("web"), r.ID("odd")
	swap := func(re, with string) garbling { return garbling{regexp.MustCompile(re), with} }
	s := ociSpecOf(r, h.name)
	s.RunDir, s.Quiet = t.TempDir(), time.Nanosecond
	i, err := engine.Open(s, garbled{w, []garbling{
		swap(`"(Pid|RestartCount|StopTimeout|Created)":( ?)(\d+)`, `"$1":$2"$3"`),                    // numbers as strings
		swap(`"(IPPrefixLen|GlobalIPv6PrefixLen)":( ?)(\d+)`, `"$1":$2"$3.0"`),                       //
		swap(`"MacAddress":( ?)"[^"]*"`, `"MacAddress":$1 12`),                                       // a string as a number
		swap(`\{( *\n? *)"(ID|Id|AutoRemove)":`, `{$1"New": {"a": [1, null]}, "$2": "old", "$2":`),   // new fields and doubled keys
		swap(`"`+odd+`"((?s:.*?))"(State|Status)":( ?)"running"`, `"`+odd+`"$1"$2":$3"hibernating"`), // an unknown word
	}}, nil)
	ociMust(t, err)
	var told []string
	for range 3 {
		l := list(t, i)
		told = append(told, l.Notes...)
		if s := find(t, l, web); s.State != health.Running || s.Init.PID != r.InitPID("web") || len(s.Addrs) != 1 {
			t.Errorf("%+v", s)
		}
		if s := find(t, l, odd); s.State != health.Unknown || !strings.Contains(s.Detail, "hibernating") {
			t.Errorf("%+v", s)
		}
		if s := look(t, i, odd); s.State != health.Unknown {
			t.Errorf("%+v", s)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0], "hibernating") {
		t.Errorf("told %q", told)
	}
}
