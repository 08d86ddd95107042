package engine_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// A trial is a thing that happens to containers in the field and that every engine must stand. Most of them an engine
// stages by means of its own; what the engines have in common is in conform. An engine answers each trial, by a test or by
// the reason why it cannot be met there: TestTrials fails where it keeps silent, and writes the table of docs/engines.md.
type trial string

const (
	found         trial = "found by itself"                         // by Discover, as the instance that it is, and not where it is not
	missing       trial = "missing"                                 // what is not there and not known to be removed: storage away, listed no more
	rebooted      trial = "rebooted by its guest"                   // a reboot inside is told apart from a death
	ignores       trial = "ignores a request to stop"               // a graceful stop fails in the end, and kills nothing
	failsToStart  trial = "fails to start"                          // at least five causes, each named in Answer.Cause by the innermost words
	startLies     trial = "start says yes, and it is dead"          // exit 0 proves nothing
	locked        trial = "locked by an operation"                  // who, what, since when; and the lock's end is seen
	staleLock     trial = "a lock left over"                        // whose holder is gone: told apart from a living one
	daemonStopped trial = "daemon stopped"                          // no observation: nobody is down because of it
	daemonHung    trial = "daemon hung"                             // SIGSTOP: the list ends at its limit, and is no observation
	daemonAnew    trial = "daemon started anew"                     // what ran still runs, by the same init; events are followed again
	oneHangs      trial = "one container hangs the list"            // the others stay watched, and it is named
	renamed       trial = "renamed"                                 // while it runs, where the engine allows it
	halfMade      trial = "a template, or half made"                // none of ours, or left alone
	breaks        trial = "its configuration breaks while it runs"  // it still runs, and is no death
	addresses     trial = "addresses"                               // v4, v6, several, none
	whoStopped    trial = "who stopped it"                          // by the engine's record; a death is nobody's
	others        trial = "looked after by another"                 // restart policy, HA, orchestrator: named in Supervisor
	strange       trial = "strange answers"                         // unknown words, new fields, doubled keys, numbers as strings: survived, told once
	oneProcess    trial = "one process a list"                      // whatever the number of containers
	takesOver     trial = "an agent that begins while things stand" // finds running, dead and stopped ones as they are
	keeps         trial = "its evidence"                            // each source exists and shows what it says
)

func trials() []trial {
	return []trial{found, missing, rebooted, ignores, failsToStart, startLies, locked, staleLock, daemonStopped, daemonHung, daemonAnew,
		oneHangs, renamed, halfMade, breaks, addresses, whoStopped, others, strange, oneProcess, takesOver, keeps}
}

// A stand is how an engine meets a trial: by tests, which run as TestTrials/ENGINE/TRIAL on the host H that its trials
// share, or never. Some meet half of it: then both are said.
type stand[H any] struct {
	by    []func(H, *testing.T)
	never string // why it cannot be met: a sentence for docs/engines.md
}

func by[H any](tests ...func(H, *testing.T)) stand[H] { return stand[H]{by: tests} }

// alone makes a test of its own, on a host of its own and beside others, out of one that needs nothing shared.
func alone[H any](run func(*testing.T)) func(H, *testing.T) {
	return func(_ H, t *testing.T) {
		t.Parallel()
		run(t)
	}
}

// nowhere is the host of trials that need none in common: each has its own.
type nowhere struct{}

func (nowhere) host(*testing.T) nowhere { return nowhere{} }

// apart is a stand of tests that share nothing.
func apart(tests ...func(*testing.T)) (s stand[nowhere]) {
	for _, run := range tests {
		s.by = append(s.by, alone[nowhere](run))
	}
	return s
}

// A stager is one engine with all its answers.
type stager struct {
	name  string           // of the engine, and behind a space what kind of its containers
	never map[trial]string // what it says of each trial that it answers; empty: it is met
	met   map[trial]bool
	run   func(*testing.T)
}

// stages makes a stager. The host is set up once, for all its trials, and a trial leaves it as it was found. A test that
// runs elsewhere, as on a host with systemd, gives away.
func stages[H any](name string, host func(*testing.T) H, away func(*testing.T) bool, answers map[trial]stand[H]) stager {
	s := stager{name: name, never: map[trial]string{}, met: map[trial]bool{}}
	for k, a := range answers {
		s.never[k], s.met[k] = a.never, len(a.by) > 0
	}
	s.run = func(t *testing.T) {
		if away != nil && away(t) {
			return
		}
		h := host(t)
		for _, k := range trials() {
			for n, run := range answers[k].by {
				name := string(k)
				if n > 0 {
					name = fmt.Sprintf("%s, %d", k, n+1)
				}
				t.Run(name, func(t *testing.T) { run(h, t) })
			}
		}
	}
	return s
}

func stagers() []stager {
	return []stager{
		lxdTrials(),
		dockerTrials(),
		podmanTrials(),
		lxcTrials(),
		customTrials(),
		proxmoxTrials("proxmox CT", "lxc"),
		proxmoxTrials("proxmox VM", "qemu"),
		incusTrials(),
		libvirtLXCTrials(),
		libvirtQemuTrials(),
		openvzTrials(),
		virtuozzoTrials(),
		nspawnTrials(),
	}
}

var updateDocs = flag.Bool("update", false, "write the table of trials into docs/engines.md")

func TestTrials(t *testing.T) {
	for _, s := range stagers() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, k := range trials() {
				if !s.met[k] && s.never[k] == "" {
					t.Errorf("%s says nothing about the trial %q: stage it, or say why it cannot be met", s.name, k)
				}
			}
			s.run(t)
		})
	}
}

// TestEachEngineIsTried holds that no engine was left out.
func TestEachEngineIsTried(t *testing.T) {
	for _, name := range engine.Names() {
		if !slices.ContainsFunc(stagers(), func(s stager) bool { return strings.Fields(s.name)[0] == name }) {
			t.Errorf("engine %q meets no trials", name)
		}
	}
}

// TestTables keeps the tables of docs/engines.md as the code is.
func TestTables(t *testing.T) {
	keepTable(t, "trials", trialsTable())
	keepTable(t, "verbs", verbsTable(t))
	keepTable(t, "facts", factsTable(t))
}

func keepTable(t *testing.T, name, table string) {
	const path = "../../docs/engines.md"
	begins, ends := "<!-- "+name+": written by go test ./agent/engine -run TestTables -update -->\n", "<!-- end of "+name+" -->\n"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begins)
	_, after, ok2 := strings.Cut(rest, ends)
	want := before + begins + table + ends + after
	switch {
	case !ok || !ok2:
		t.Fatalf("%s has no place for a table: %s%s", path, begins, ends)
	case want == string(b):
	case !*updateDocs:
		t.Errorf("the table of %s in %s is not true any more: go test ./agent/engine -run TestTables -update", name, path)
	default:
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// verbsTable is what each engine declares, as it is when nothing is configured.
func verbsTable(t *testing.T) string {
	verbs := []health.Verb{health.VerbStart, health.VerbStop, health.VerbKill, health.VerbRestart, health.VerbRepair, health.VerbUnlock, health.VerbBackup}
	var rows strings.Builder
	rows.WriteString("| |")
	for _, v := range verbs {
		fmt.Fprintf(&rows, " %s |", v)
	}
	rows.WriteString(" exec | its logs | last backup | events |\n|---|" + strings.Repeat("---|", len(verbs)+4) + "\n")
	for _, name := range engine.Names() {
		if name == "custom" {
			continue // as configured
		}
		i, err := engine.Open(engine.Spec{Engine: name, RunDir: t.TempDir()}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&rows, "| %s |", name)
		for _, v := range verbs {
			if !i.Can(v) {
				rows.WriteString(" |")
				continue
			}
			fmt.Fprintf(&rows, " %s |", short(i.Limit(v)))
		}
		for _, has := range []bool{i.CanExec(), i.KeepsLogs(), i.KnowsBackups(), i.HasEvents()} {
			rows.WriteString(map[bool]string{true: " ✓ |", false: " |"}[has])
		}
		rows.WriteString("\n")
	}
	return rows.String()
}

// factsTable is where each engine tells what.
func factsTable(t *testing.T) string {
	var rows strings.Builder
	for n, name := range engine.Names() {
		if name == "custom" {
			continue // as configured
		}
		i, err := engine.Open(engine.Spec{Engine: name, RunDir: t.TempDir()}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		head, row := "| |", "| "+name+" |"
		for _, f := range i.Tells() {
			head += " " + f.Fact + " |"
			row += " " + f.Where + " |"
		}
		if n == 1 {
			rows.WriteString(head + "\n|---|" + strings.Repeat("---|", len(i.Tells())) + "\n")
		}
		rows.WriteString(row + "\n")
	}
	return rows.String()
}

// short gives whole minutes as such, and else seconds.
func short(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

func trialsTable() string {
	var head, rule, notes strings.Builder
	for _, s := range stagers() {
		fmt.Fprintf(&head, " %s |", s.name)
		rule.WriteString("---|")
	}
	var rows strings.Builder
	fmt.Fprintf(&rows, "| |%s\n|---|%s\n", head.String(), rule.String())
	said := map[string]int{}
	for _, k := range trials() {
		fmt.Fprintf(&rows, "| %s |", k)
		for _, s := range stagers() {
			var cell []string
			if s.met[k] {
				cell = append(cell, "✓")
			}
			if why := s.never[k]; why != "" {
				if said[why] == 0 {
					said[why] = len(said) + 1
					fmt.Fprintf(&notes, "%d. %s\n", said[why], why)
				}
				cell = append(cell, fmt.Sprint(said[why]))
			}
			fmt.Fprintf(&rows, " %s |", strings.Join(cell, " "))
		}
		rows.WriteString("\n")
	}
	return rows.String() + "\n" + notes.String()
}
