package diagnose

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"atalaya/agent/health"
)

// Each story of testdata/judge.txt gets its verdict.
func TestStories(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/judge.txt")
	if err != nil {
		t.Fatal(err)
	}
	stories := strings.Split(string(text), "\n\n")[1:]
	if len(stories) < 25 {
		t.Fatalf("only %d stories", len(stories))
	}
	for _, s := range stories {
		tell(t, s)
	}
}

func tell(t *testing.T, text string) {
	t.Helper()
	f := Facts{Sighting: health.Sighting{
		Ref: health.Ref{Engine: "lxc", ID: "web1"}, Name: "web1", State: health.Running, Addrs: make([]health.Addr, 1),
	}}
	var v *health.Verdict
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "", "#":
		case "=", "proof":
			if v == nil {
				got := Judge(f)
				v = &got
				acceptable(t, got)
			}
			if err := expect(*v, word, rest); err != nil {
				t.Errorf("%v\nin\n%s", err, text)
			}
		default:
			f.learn(t, word, rest)
		}
	}
	if v == nil {
		t.Errorf("no verdict is expected in\n%s", text)
	}
}

// learn adds one line of a story.
func (f *Facts) learn(t *testing.T, word, rest string) {
	t.Helper()
	args := strings.Fields(rest)
	switch word {
	case "wont-start", "died", "sick":
		f.Failure = Failure(word)
	case "lock":
		pid, _ := strconv.Atoi(args[1])
		f.Sighting.Lock = &health.Lock{Operation: args[0], Holder: health.Process{PID: pid}, Dead: len(args) > 2}
	case "actor":
		f.Actor = &health.Actor{Argv: args, Verb: health.VerbStop}
	case "state":
		f.Sighting.State = health.RunState(rest)
	case "noaddr":
		f.Sighting.Addrs = nil
	case "probe":
		f.Probe = health.Signal{Probe: "web", Outcome: health.Fail, Detail: rest}
	case "inside":
		f.Inside = health.Outcome(rest)
	case "fault":
		f.Faults = append(f.Faults, rest)
	case "done":
		f.attempt(health.VerbStart, rest)
	case "start", "stop", "kill", "restart":
		f.attempt(health.Verb(word), rest)
	case "engine":
		f.Sighting.Ref.Engine = rest
	case "exit":
		f.Attempts[len(f.Attempts)-1].Exit, _ = strconv.Atoi(rest)
	case "detail":
		f.Sighting.Detail = rest
	case "purpose":
		f.Sighting.OnPurpose = rest
	case "finished":
		f.Sighting.Finished = true
	case "going":
		f.Closed, f.Going = rest, true
	case "log":
		f.Log += rest + "\n"
	case "host":
		f.Host = append(f.Host, rest)
	case "change":
		layer, what, _ := strings.Cut(rest, " ")
		f.Changes = append(f.Changes, Change{Layer: layer, What: what})
	case "counter":
		n, _ := strconv.ParseUint(args[0], 10, 64)
		f.Counters = append(f.Counters, Counter{Name: args[1], Grew: n, Whole: len(args) > 2})
	case "siblings":
		f.Siblings.Failing, _ = strconv.Atoi(args[0])
		f.Siblings.Total, _ = strconv.Atoi(args[1])
	case "cgroup":
		f.Cgroup = rest
	case "kernel":
		f.Kernel = append(f.Kernel, rest)
	default:
		t.Fatalf("the story has no word %q", word)
	}
}

// attempt adds one of ours: "what the engine printed|its innermost words", nothing for one that worked.
func (f *Facts) attempt(verb health.Verb, rest string) {
	err, cause, _ := strings.Cut(rest, "|")
	d := health.Done{Verb: verb, Err: err, Cause: cause}
	d.Already = err == "already"
	if d.Already {
		d.Err = ""
	}
	f.Attempts = append(f.Attempts, Attempt{Done: d})
}

func expect(v health.Verdict, word, want string) error {
	switch {
	case word == "proof":
		words, no := strings.CutPrefix(want, "!")
		if strings.Contains(strings.Join(v.Proof, "\n"), words) == no {
			return fmt.Errorf("proof %q: %q", want, v.Proof)
		}
	case strings.HasPrefix(want, "retry "):
		if string(v.RetryHelps) != want[6:] {
			return fmt.Errorf("retry helps: %q, want %q", v.RetryHelps, want[6:])
		}
	case strings.HasPrefix(want, "cure "):
		if !strings.Contains(v.Cure, want[5:]) {
			return fmt.Errorf("cure %q, want %q in it", v.Cure, want[5:])
		}
	default:
		head, words, _ := strings.Cut(want, ": ")
		if v.Layer+" "+v.Confidence != head || !strings.Contains(v.Sentence, words) {
			return fmt.Errorf("got %s %s: %s\nwant %s", v.Layer, v.Confidence, v.Sentence, want)
		}
	}
	return nil
}
