package diagnose

import (
	"os"
	"strings"
	"testing"

	"atalaya/agent/health"
)

// A broken is one section of testdata/lxc-5.0.2.txt.
type broken struct {
	name, want, state string
	err, log          string
	failed            bool
}

func corpus(t *testing.T) []broken {
	t.Helper()
	text, err := os.ReadFile("testdata/lxc-5.0.2.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []broken
	for _, section := range strings.Split(string(text), "\n### ")[1:] {
		name, body, _ := strings.Cut(section, "\n")
		b := broken{name: name}
		for line := range strings.Lines(body) {
			line = strings.TrimRight(line, "\n")
			switch {
			case strings.HasPrefix(line, "want "):
				b.want = line[5:]
			case strings.HasPrefix(line, "  err: "):
				b.err += line[7:] + "\n"
			case strings.HasPrefix(line, "  log: "):
				b.log += line[7:] + "\n"
			case strings.HasPrefix(line, "state="):
				b.state = line[6:]
			case strings.HasPrefix(line, "rc="):
				b.failed = line != "rc=0"
			}
		}
		out = append(out, b)
	}
	if len(out) < 30 {
		t.Fatalf("only %d broken containers in the corpus", len(out))
	}
	return out
}

// facts are what the agent would have of it. The engine gives the innermost line as "ERRNO - MESSAGE", without its place.
func (b broken) facts(log bool) Facts {
	f := Facts{
		Failure: WontStart,
		Sighting: health.Sighting{
			Ref: health.Ref{Engine: "lxc", ID: b.name}, Name: b.name, State: health.RunState(strings.ToLower(b.state)),
		},
		Files: map[Fact]string{FactEngine: "action/lxc-start.log"},
	}
	d := health.Done{Attempt: 1, Verb: health.VerbStart}
	if b.failed {
		d.Err = "lxc-start -n " + b.name + ": exit 1: " + b.err
	}
	if log {
		f.Log = b.log
	} else {
		_, d.Cause, _ = strings.Cut(strings.SplitAfter(b.log+"\n", "\n")[0], " - ../src/")
		_, d.Cause, _ = strings.Cut(d.Cause, " - ")
	}
	f.Attempts = []Attempt{{Done: d}}
	return f
}

// Every container that was really broken gets the verdict that names what was broken, from the innermost line as well as
// from the whole log.
func TestBrokenContainers(t *testing.T) {
	t.Parallel()
	for _, b := range corpus(t) {
		for _, log := range []bool{false, true} {
			v := Judge(b.facts(log))
			head, words, _ := strings.Cut(b.want, ": ")
			if got := v.Layer + " " + v.Confidence; got != head || !strings.Contains(v.Sentence, words) {
				t.Errorf("%s (whole log: %v): %s: %s\nwant %s\nproof %q", b.name, log, got, v.Sentence, b.want, v.Proof)
			}
			acceptable(t, v)
			if v.Layer != Undetermined && b.failed && !strings.Contains(v.Proof[0], "(action/lxc-start.log)") {
				t.Errorf("%s: the proof names no file: %q", b.name, v.Proof)
			}
		}
	}
}

// acceptable holds a verdict to what a technician can be shown.
func acceptable(t *testing.T, v health.Verdict) {
	t.Helper()
	if !strings.HasPrefix(v.Sentence, "Container ") || !strings.HasSuffix(v.Sentence, ".") || strings.ContainsAny(v.Sentence, "$\n") {
		t.Errorf("no sentence: %q", v.Sentence)
	}
	if v.Cure == "" || strings.Contains(v.Cure+v.Disproof, "$") {
		t.Errorf("no cure, or one with holes: %+v", v)
	}
	if v.Layer != Undetermined && (v.Disproof == "" || len(v.Proof) == 0) {
		t.Errorf("a verdict without proof or disproof: %+v", v)
	}
}
