package health

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the right-hand sides of testdata/*.txt")

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Each line of a timeline is "<offset> <event> -> <phase> [actions]": what happened, and what Step must make of it.
// See testdata/README for the events.
func TestTimelines(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no timelines", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("differs from %s; got:\n%s", f, got)
			}
		})
	}
}

// testPolicy has two probes: "web" may cause a restart, "slow" only alerts.
func testPolicy() Policy {
	p := DefaultPolicy()
	p.Attempts = 3
	p.FlapHigh = 0 // timelines put many failures into one hour; "flap=30" turns it on
	p.Delays = []time.Duration{5 * time.Second, 20 * time.Second}
	p.Probes = map[string]ProbePolicy{
		"web":  {FailAfter: 3, PassAfter: 2, Grace: 60 * time.Second, OnFail: FailRestart},
		"slow": {FailAfter: 2, PassAfter: 1, Grace: 60 * time.Second, OnFail: FailAlert},
	}
	return p
}

// A player turns the words of a timeline into observations.
type player struct {
	p          Policy
	s          State
	pid        int
	seq        uint64
	room       Room
	autostart  Tri
	nopid      bool
	supervisor string
	elsewhere  bool
	lock       *Lock
	mark       string
	config     string
}

func newPlayer() *player {
	return &player{p: testPolicy(), pid: 100, room: Room{Start: true, Restart: true}, autostart: Yes, mark: "m1", config: "c1"}
}

func play(t *testing.T, script string) string {
	pl := newPlayer()
	var out strings.Builder
	for line := range strings.Lines(script) {
		in, _, _ := strings.Cut(strings.TrimRight(line, "\n"), "->")
		in = strings.TrimSpace(in)
		switch {
		case in == "" || in[0] == '#':
			out.WriteString(strings.TrimRight(line, "\n") + "\n")
			continue
		case strings.HasPrefix(in, "given "):
			pl.given(t, strings.Fields(in)[1:])
			out.WriteString(in + "\n")
			continue
		}
		f := strings.Fields(in)
		d, err := time.ParseDuration(f[0])
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		o := pl.observation(t, epoch.Add(d), f[1:])
		o.At, o.Room = epoch.Add(d), pl.room
		var acts []Action
		pl.s, acts = Step(pl.p, pl.s, o)
		fmt.Fprintf(&out, "%-36s -> %s%s\n", in, pl.s.Phase, actionsText(acts))
	}
	return out.String()
}

func actionsText(acts []Action) string {
	if len(acts) == 0 {
		return ""
	}
	var s []string
	for _, a := range acts {
		s = append(s, a.String())
	}
	return " [" + strings.Join(s, ", ") + "]"
}

func (pl *player) given(t *testing.T, words []string) {
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "mode":
			pl.p.Mode = Mode(v)
		case "want":
			pl.p.Want = Tri(v)
		case "autostart":
			pl.autostart = Tri(v)
		case "nopid":
			pl.nopid = true
		case "noprobes":
			pl.p.Probes = nil
		case "attempts":
			pl.p.Attempts, _ = strconv.Atoi(v)
		case "room":
			pl.room = Room{Start: v != "no", Restart: v == "yes", Why: "no room"} // start: for the dead only
		case "supervisor": // "k8s(elsewhere)" may run it on another host
			pl.supervisor, pl.elsewhere = strings.TrimSuffix(v, "(elsewhere)"), strings.HasSuffix(v, "(elsewhere)")
		case "lock": // by pid 4711; "backup(dead)" is of one that lives no more
			op, dead := strings.CutSuffix(v, "(dead)")
			if pl.lock = nil; op != "" {
				pl.lock = &Lock{Operation: op, Holder: Process{PID: 4711}, Dead: dead}
			}
		case "unlock":
			pl.p.Unlock = true
		case "defer":
			pl.p.DeferFor, _ = time.ParseDuration(v)
		case "flap":
			pl.p.FlapHigh, _ = strconv.ParseFloat(v, 64)
		case "job": // "nightly:backup" is a schedule
			name, verb, _ := strings.Cut(v, ":")
			pl.jobPolicy(name, func(jp *JobPolicy) { jp.Do = Verb(verb) })
		case "overdue": // "nightly:24h"
			name, d, _ := strings.Cut(v, ":")
			pl.jobPolicy(name, func(jp *JobPolicy) { jp.Overdue, _ = time.ParseDuration(d) })
		case "catchup":
			pl.jobPolicy(v, func(jp *JobPolicy) { jp.CatchUp = true })
		case "unscheduled":
			pl.p.Jobs = nil
		case "backups": // why none may be begun
			pl.room.Backups = v
		case "mark":
			pl.mark = v
		case "config":
			pl.config = v
		default:
			t.Fatalf("given %q: no such word", w)
		}
	}
}

func (pl *player) jobPolicy(name string, edit func(*JobPolicy)) {
	jp := pl.p.Jobs[name]
	jp.Limit = time.Hour
	edit(&jp)
	jobs := map[string]JobPolicy{name: jp}
	for k, v := range pl.p.Jobs {
		if k != name {
			jobs[k] = v
		}
	}
	pl.p.Jobs = jobs
}

func (pl *player) sighting(word string) *Sighting {
	st, pid, _ := strings.Cut(word, ":")
	if n, err := strconv.Atoi(pid); err == nil {
		pl.pid = n
	}
	g := &Sighting{Ref: Ref{Engine: "lxc", ID: "web1"}, Name: "web1", Mark: pl.mark, Config: pl.config, State: RunState(st), Autostart: pl.autostart,
		Supervisor: pl.supervisor, Elsewhere: pl.elsewhere, Lock: pl.lock}
	switch g.State {
	case Running, Paused:
		if pl.nopid {
			break
		}
		g.Init = Process{PID: pl.pid, Start: uint64(pl.pid)}
	}
	return g
}

func (pl *player) observation(t *testing.T, at time.Time, words []string) Observation {
	var o Observation
	k, v, _ := strings.Cut(words[0], "=")
	switch k {
	case "running", "stopped", "paused", "busy", "broken", "missing", "removed", "unknown":
	case "look":
		o.Look = &Look{Seq: -1}
		if pl.s.Looking != nil {
			o.Look.Seq = pl.s.Looking.Seq
		}
		if v != "none" {
			o.Look.Sighting = pl.sighting(v)
		}
	case "late-look":
		o.Look = &Look{Seq: pl.s.LookSeq - 1, Sighting: pl.sighting(v)}
	case "died":
		o.Death = &Death{Init: pl.s.Init}
	case "other-died":
		o.Death = &Death{Init: Process{PID: 9999, Start: 1}}
	case "done":
		n, verb := 0, VerbStart
		if a := pl.s.Attempts; len(a) > 0 {
			n, verb = a[len(a)-1].N, a[len(a)-1].Verb
		}
		if pl.s.Phase == Stopping {
			verb = VerbStop
		}
		o.Done = &Done{Attempt: n, Verb: verb, Err: v}
		switch v {
		case "already":
			o.Done.Err, o.Done.Already = "", true
		case "restarted":
			o.Done.Err, o.Done.Verb = "", VerbRestart
		}
	case "want", "unwant", "hold", "release":
		d, _ := time.ParseDuration(v)
		o.Order = &Order{Kind: OrderKind(k), By: "root", Reason: "test", Until: pl.s.Last.Add(d)}
	case "host":
		o.Host = &HostWord{}
		switch {
		case strings.HasPrefix(v, "fault:"):
			o.Host.Faults = []string{strings.TrimPrefix(v, "fault:")}
		case v != "":
			o.Host.Closed, o.Host.Going = v, true
		}
	case "window": // opens for so long, or closes
		o.Host = &HostWord{}
		if d, err := time.ParseDuration(v); err == nil {
			o.Host.Window = Window{Name: "sunday", Until: at.Add(d)}
		}
	case "job":
		o.Job = &Job{Name: v, Due: at, Until: at.Add(6 * time.Hour)}
	case "ended":
		o.Ended = &JobDone{Err: v}
		if pl.s.Jobs.Run != nil {
			o.Ended.ID = pl.s.Jobs.Run.ID
		}
	case "backup": // the engine knows of a good one, so old
		d, _ := time.ParseDuration(v)
		o.Backup = &BackupWord{At: at.Add(-d), Said: "vzdump"}
	case "reborn":
		o.Birth = &Birth{Boot: "boot1", Orderly: v == "orderly"}
	case "rebooted":
		o.Birth = &Birth{Boot: "boot2"}
	case "tick":
	default:
		pl.seq++
		g := Signal{Probe: k, Seq: pl.seq, Outcome: Outcome(v), Detail: "refused", Init: pl.s.Init}
		o.Signal = &g
	}
	if v == "" && (k == "running" || strings.HasPrefix(k, "running:")) {
		o.Sight = pl.sighting(k)
	}
	for _, st := range []string{"running", "stopped", "paused", "busy", "broken", "missing", "removed", "unknown"} {
		if words[0] == st || strings.HasPrefix(words[0], st+":") {
			o = Observation{Sight: pl.sighting(words[0])}
		}
	}
	for _, w := range words[1:] {
		switch k, v, _ := strings.Cut(w, "="); k {
		case "by":
			o.Look.Actor = &Actor{Process: Process{PID: 77}, Argv: []string{"lxc-" + v, "-n", "web1"}, UID: 1001, Login: -1, Verb: Verb(v)}
		case "record":
			if o.Look != nil {
				o.Sight = o.Look.Sighting
			}
			o.Sight.OnPurpose = "docker " + v
			if o.Look != nil {
				o.Sight = nil
			}
		case "skip":
			o.Job.Skip = JobSkip(v)
		case "inside":
			o.Look.Inside = Outcome(v)
		case "going":
			o.Look.Host = &HostWord{Closed: "the host is shutting down", Going: true}
		default:
			t.Fatalf("%q: no such word", w)
		}
	}
	return o
}
