package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// An Examination is how one instance fares.
type Examination struct {
	Engine     string           `json:"engine"`
	Instance   string           `json:"instance,omitempty"`
	Where      string           `json:"where"`
	Binary     string           `json:"binary"`            // of its tool, absolute, or its name where it is on another host; empty: not found
	Version    string           `json:"version,omitempty"` // first line of what the tool says; empty: it does not
	Reachable  bool             `json:"reachable"`         // a list succeeded
	Took       health.Millis    `json:"took_ms"`           // by the list
	Containers int              `json:"containers"`
	Running    int              `json:"running"`
	Events     bool             `json:"events"` // the tool has an event stream that is followed
	Can        []string         `json:"can"`    // what it can be told and asked, in the words of the verbs
	Tells      []Told           `json:"tells"`  // where it tells what a judgement needs
	Blind      []string         `json:"blind"`  // what cannot be known here, a sentence each
	Findings   []health.Finding `json:"findings"`
}

// versionWithin bounds how long the tool may take to say its version.
const versionWithin = 10 * time.Second

// Examine looks at the instance once, by its list and its tool's version: two processes. It changes nothing.
func (i *Instance) Examine(ctx context.Context) Examination {
	x := Examination{Engine: i.spec.Engine, Instance: i.spec.Instance, Where: i.Where(), Events: i.HasEvents(), Can: i.abilities(), Tells: i.Tells(), Blind: append([]string{}, i.tool.blind...)}
	x.Findings = append(x.Findings, i.examineBinary(&x), i.examineVersion(ctx, &x))
	began := time.Now()
	l, err := i.List(ctx, nil)
	x.Took, x.Reachable = health.ToMillis(time.Since(began)), err == nil
	x.Containers = len(l.Containers)
	for _, s := range l.Containers {
		if s.State == health.Running {
			x.Running++
		}
	}
	x.Findings = append(x.Findings, examineList(l, err))
	x.Findings = append(x.Findings, i.examineWays(l, err == nil)...)
	kept := x.Findings[:0]
	for _, f := range x.Findings {
		if f.Check != "" {
			kept = append(kept, f)
		}
	}
	x.Findings = kept
	return x
}

// A Told is one thing that a judgement needs, and where the engine tells it; empty: it does not.
type Told struct {
	Fact  string `json:"fact"`
	Where string `json:"where"`
}

// Tells gives where the engine tells what, always the same facts in the same order.
func (i *Instance) Tells() []Told {
	f := i.tool.facts
	return []Told{{"intent", f.intent}, {"who stopped it", f.stopped}, {"lock", f.lock}, {"cause of a failed start", f.cause}, {"other supervisor", f.supervisor}}
}

// abilities are what the instance declares.
func (i *Instance) abilities() []string {
	can := []string{}
	for _, v := range []health.Verb{health.VerbStart, health.VerbStop, health.VerbKill, health.VerbRestart, health.VerbRepair, health.VerbUnlock, health.VerbBackup} {
		if i.Can(v) {
			can = append(can, string(v))
		}
	}
	for _, a := range []struct {
		word string
		has  bool
	}{{"exec", i.CanExec()}, {"logs", i.KeepsLogs()}, {"last backup", i.KnowsBackups()}} {
		if a.has {
			can = append(can, a.word)
		}
	}
	return can
}

// binary is the tool that is asked first.
func (i *Instance) binary() string {
	switch {
	case len(i.tool.version) > 0:
		return i.tool.version[0]
	case i.spec.Custom != nil && len(i.spec.Custom.List) > 0:
		return i.spec.Custom.List[0]
	}
	return ""
}

func (i *Instance) examineBinary(x *Examination) health.Finding {
	name := i.binary()
	if name == "" {
		return health.Finding{}
	}
	if i.Far() {
		x.Binary = name
		return health.Finding{}
	}
	path, err := hostexec.LookPath(name)
	if err != nil {
		return health.Finding{Check: "binary", Grade: health.GradeStop, What: err.Error(), Why: "the engine can be neither asked nor told",
			Do: "install it, or correct the configuration: what is found in a shell's PATH alone is not found by a service"}
	}
	x.Binary = path
	return health.Finding{Check: "binary", Grade: health.GradeOK, What: path}
}

func (i *Instance) examineVersion(ctx context.Context, x *Examination) health.Finding {
	if len(i.tool.version) == 0 {
		return health.Finding{}
	}
	t := i.run.Read(ctx, hostexec.Command{Argv: i.tool.version, Env: i.spec.Env, Timeout: versionWithin, MaxOut: 16 << 10})
	if err := t.Err(); err != nil {
		return health.Finding{Check: "version", Grade: health.GradeNote, What: err.Error(), Why: "what it prints depends on its version", Do: "try it by hand"}
	}
	for line := range strings.Lines(string(t.Stdout) + string(t.Stderr)) {
		if x.Version = tidy(line); x.Version != "" {
			break
		}
	}
	return health.Finding{Check: "version", Grade: health.GradeOK, What: x.Version}
}

func examineList(l Listing, err error) health.Finding {
	switch {
	case err != nil:
		f := health.Finding{Check: "list", Grade: health.GradeStop, What: err.Error(), Why: "without a list nothing is known of its containers, and nothing is started",
			Do: "run that command by hand, as root, and see what it says"}
		if denied(err.Error()) {
			f.Do = "give whoever runs the agent the right to use it: as root it has"
		}
		return f
	case l.Degraded != "":
		return health.Finding{Check: "list", Grade: health.GradeWarn, What: l.Degraded, Why: "one container hangs the tool for all; the others are asked one by one, more slowly", Do: "see to the container that is named"}
	}
	return health.Finding{Check: "list", Grade: health.GradeOK, What: fmt.Sprintf("%d containers", len(l.Containers))}
}

// denied tells the words by which tools say that somebody may not.
func denied(said string) bool {
	said = strings.ToLower(said)
	for _, words := range []string{"permission denied", "operation not permitted", "must be root", "not authorized", "access denied"} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// examineWays says by what ways it is told what happens, and what would make it better.
func (i *Instance) examineWays(l Listing, listed bool) []health.Finding {
	var all []health.Finding
	for _, n := range l.Notes {
		all = append(all, health.Finding{Check: "notes", Grade: health.GradeNote, What: n, Why: "it is not watched, or not understood", Do: "mend it, if it matters"})
	}
	pids := 0
	for _, s := range l.Containers {
		if s.Init.PID != 0 {
			pids++
		}
	}
	switch {
	case i.Far():
		all = append(all, health.Finding{Check: "notices", Grade: health.GradeNote, What: "it is on another host: its containers are polled",
			Why: "a death is noticed at the next poll, and not within milliseconds", Do: "run an agent there, where its kernel is 3.2 or newer"})
	case i.HasEvents():
		all = append(all, health.Finding{Check: "notices", Grade: health.GradeOK, What: "its event stream is followed, by one process"})
	case pids > 0:
		all = append(all, health.Finding{Check: "notices", Grade: health.GradeOK, What: "it has no event stream; the kernel tells of deaths"})
	case listed:
		all = append(all, health.Finding{Check: "notices", Grade: health.GradeNote, What: "it has no event stream, and no pid of a container is known now",
			Why: "a death is noticed at the next poll", Do: "nothing while nothing runs; with \"custom\", have the list tell pids"})
	}
	for _, v := range []health.Verb{health.VerbStart, health.VerbStop, health.VerbKill} {
		if !i.Can(v) {
			grade := health.GradeWarn
			if v == health.VerbStart {
				grade = health.GradeStop
			}
			all = append(all, health.Finding{Check: "verbs", Grade: grade, What: fmt.Sprintf("it has no command to %s a container", v),
				Why: "nothing can be healed that needs it", Do: fmt.Sprintf("give the command %q in the configuration", v)})
		}
	}
	return all
}

// Unopened is the examination of what cannot even be opened.
func Unopened(s Spec, err error) Examination {
	where := (&Instance{spec: s}).Where()
	return Examination{Engine: s.Engine, Instance: s.Instance, Where: where, Can: []string{}, Tells: []Told{}, Blind: []string{}, Findings: []health.Finding{{
		Check: "configuration", Grade: health.GradeStop, What: err.Error(), Why: "the agent does not start with it", Do: "correct it under engines: in the configuration"}}}
}

// NoEngine is what is to be said of a host without any.
func NoEngine() health.Finding {
	return health.Finding{Check: "engines", Grade: health.GradeStop, What: "no virtualization engine was found on this host",
		Why: "there is nothing to watch, and the agent does not start", Do: fmt.Sprintf("install one of %s, or describe yours under engines: in the configuration", strings.Join(Names(), ", "))}
}
