package diagnose

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"atalaya/agent/health"
)

// session reads the commands of a recorded session with what they printed, up to the line that tells of the cure.
func session(t *testing.T, path string) []Attempt {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := strings.Cut(string(text), "### cure")
	if !ok {
		t.Fatalf("%s tells of no cure", path)
	}
	command := regexp.MustCompile(`^\$ vzctl (\w+) 102( --fast)?`)
	exit := regexp.MustCompile(`^\[exit (\d+) after`)
	var out []Attempt
	var a Attempt
	for line := range strings.Lines(before) {
		line = strings.TrimSuffix(line, "\n")
		if m := command.FindStringSubmatch(line); m != nil {
			a = Attempt{Done: health.Done{Verb: health.Verb(m[1])}}
			if m[2] != "" {
				a.Verb = health.VerbKill
			}
		} else if said, ok := strings.CutPrefix(line, "stderr| "); ok {
			a.Err += said + "\n"
		} else if m := exit.FindStringSubmatch(line); m != nil {
			a.Exit, _ = strconv.Atoi(m[1])
			if a.Exit == 0 {
				a.Err = ""
			}
			out = append(out, a)
		}
	}
	return out
}

// The case that Atalaya was born from, in the words that vzctl really printed: status says running, start says already
// running, stop times out, restart fails. The provider's "that software is not ours" must have nothing to hold on to.
func TestCannotStopNorStart(t *testing.T) {
	t.Parallel()
	var tried []Attempt
	for _, a := range session(t, "../engine/testdata/openvz/vzctl-cannot-stop-or-restart.txt") {
		switch a.Verb {
		case health.VerbStart, health.VerbKill, health.VerbRestart:
			tried = append(tried, a)
		}
	}
	if len(tried) != 4 || tried[2].Exit != 32 || tried[3].Exit != 33 {
		t.Fatalf("not the session that was expected: %+v", tried)
	}
	sighting := health.Sighting{Ref: health.Ref{Engine: "openvz", ID: "102"}, Name: "customer1", State: health.Running}
	gone := sighting
	gone.State, gone.Detail = health.Broken, "called running, but its init 13015 is gone since 2026-11-23T15:57:52Z: tasks are left in it that do not die, so it can be neither started nor stopped"
	for name, f := range map[string]Facts{
		"as it was":                        {Failure: Sick, Sighting: sighting, Attempts: tried[1:]},
		"with a restart last":              {Failure: Sick, Sighting: sighting, Attempts: tried[3:]},
		"with a start last":                {Failure: WontStart, Sighting: sighting, Attempts: []Attempt{tried[1], tried[2]}},
		"as it died":                       {Failure: Died, Sighting: sighting, Attempts: tried[1:]},
		"all others well":                  {Failure: Sick, Sighting: sighting, Attempts: tried[1:], Siblings: Siblings{Failing: 0, Total: 12}},
		"what the engine's own look shows": {Failure: Died, Sighting: gone},
		"the same, after attempts":         {Failure: Died, Sighting: gone, Attempts: tried[1:]},
	} {
		f.Probe, f.Inside = health.Signal{Probe: "web", Detail: "connection refused"}, health.Fail
		v := Judge(f)
		acceptable(t, v)
		if v.Layer != Engine && v.Layer != Host {
			t.Errorf("%s: %s is blamed: %s", name, v.Layer, v.Sentence)
		}
		if !strings.Contains(v.Sentence, `"customer1"`) || !strings.Contains(v.Sentence, "host") || v.RetryHelps != health.No {
			t.Errorf("%s: %+v", name, v)
		}
	}
	v := Judge(Facts{Failure: Sick, Sighting: sighting, Attempts: tried[1:]})
	if v.Confidence != High || !strings.Contains(v.Sentence, "can be neither started nor stopped by its own host") || !strings.Contains(v.Sentence, "nothing inside a container can withstand that") {
		t.Errorf("%s: %s", v.Confidence, v.Sentence)
	}
	for _, fact := range []string{"running", "start: exit 32", "Container is already running", "kill: exit 33", "restart: exit 33", "Failed to wait for CT tasks to die"} {
		if !strings.Contains(strings.Join(v.Proof, "\n"), fact) {
			t.Errorf("no proof of %q in %q", fact, v.Proof)
		}
	}
}
