package diagnose

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

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
		err, cause, _ := strings.Cut(rest, "|")
		f.Dones = append(f.Dones, health.Done{Verb: health.VerbStart, Err: err, Cause: cause})
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

// Whatever the facts: a sentence, a known layer, the same answer twice, and the facts untouched.
func TestJudgeIsTotalAndPure(t *testing.T) {
	t.Parallel()
	layers := map[string]bool{
		Guest: true, Engine: true, Host: true, Storage: true, Network: true, Provider: true, Operator: true, Undetermined: true,
	}
	words := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"No space left on device", "\n", `Failed to exec "/x"`, `Failed to mount "$1" on "${2}"`, "oom-kill:constraint=CONSTRAINT_MEMCG,",
	}))
	rapid.Check(t, func(t *rapid.T) {
		f := Facts{
			Failure: rapid.SampledFrom([]Failure{Died, Sick, WontStart, ""}).Draw(t, "failure"),
			Sighting: health.Sighting{
				Ref:   health.Ref{Engine: "lxc", ID: words.Draw(t, "id")},
				State: rapid.SampledFrom([]health.RunState{health.Running, health.Stopped, health.Broken, health.Missing}).Draw(t, "state"),
			},
			Dones:  []health.Done{{Err: words.Draw(t, "err"), Cause: words.Draw(t, "cause"), Verb: health.VerbStart}},
			Log:    words.Draw(t, "log"),
			Faults: rapid.SliceOfN(words, 0, 2).Draw(t, "faults"), Kernel: []string{words.Draw(t, "kernel")}, Cgroup: "/x",
			Probe:    health.Signal{Probe: "web", Detail: words.Draw(t, "detail")},
			Inside:   rapid.SampledFrom([]health.Outcome{"", health.Pass, health.Fail, health.Unsure}).Draw(t, "inside"),
			Siblings: Siblings{rapid.IntRange(0, 5).Draw(t, "failing"), rapid.IntRange(0, 5).Draw(t, "total")},
		}
		was := fmt.Sprintf("%#v", f)
		v := Judge(f)
		if !layers[v.Layer] || v.Sentence == "" || v.Cure == "" {
			t.Fatalf("no verdict: %+v", v)
		}
		if again := Judge(f); !reflect.DeepEqual(v, again) {
			t.Fatalf("two verdicts: %+v and %+v", v, again)
		}
		if now := fmt.Sprintf("%#v", f); now != was {
			t.Fatalf("facts changed: %s, were %s", now, was)
		}
	})
}
