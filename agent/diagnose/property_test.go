package diagnose

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"atalaya/agent/health"
)

// foreign are words as an engine, a container or an attacker may write them: those of the table, cut, joined and broken.
func foreign() *rapid.Generator[string] {
	var said []string
	for _, s := range table() {
		said = append(said, s.sample, s.near)
	}
	for _, r := range errnoRules {
		said = append(said, r.words, "/x "+r.words)
	}
	said = append(said, "", "\n", "$1 ${2} $", "oom-kill:constraint=CONSTRAINT_MEMCG,", "\x1b[31m\x00\xff", strings.Repeat("x", 5000))
	one := rapid.OneOf(rapid.SampledFrom(said), rapid.String())
	return rapid.Custom(func(t *rapid.T) string {
		text := strings.Join(rapid.SliceOfN(one, 0, 3).Draw(t, "words"), rapid.SampledFrom([]string{"", "\n", ": ", " - "}).Draw(t, "joint"))
		if len(text) > 1 && rapid.IntRange(0, 3).Draw(t, "cut?") == 0 {
			text = text[:rapid.IntRange(0, len(text)).Draw(t, "cut")]
		}
		return text
	})
}

var engines = []string{"openvz", "virtuozzo", "lxc", "incus", "lxd", "proxmox", "libvirt", "docker", "podman", "nspawn", "custom", ""}

// guestFacts are all that may be known without a word of the host or its kernel: what tools printed, what probes met, and
// what a container could have brought about by itself.
func guestFacts(t *rapid.T) Facts {
	words := foreign()
	f := Facts{
		Failure: rapid.SampledFrom([]Failure{Died, Sick, WontStart, ""}).Draw(t, "failure"),
		Sighting: health.Sighting{
			Ref:    health.Ref{Engine: rapid.SampledFrom(engines).Draw(t, "engine"), ID: rapid.SampledFrom([]string{"101", "web1", "\n$1"}).Draw(t, "id")},
			Detail: words.Draw(t, "detail"),
			State: rapid.SampledFrom([]health.RunState{health.Running, health.Stopped, health.Paused, health.Busy, health.Broken, health.Missing,
				health.Unknown}).Draw(t, "state"),
			OnPurpose: rapid.SampledFrom([]string{"", "somebody had libvirt destroy it", "a poweroff inside"}).Draw(t, "purpose"),
			Finished:  rapid.IntRange(0, 9).Draw(t, "finished") == 0,
		},
		Log:    words.Draw(t, "log"),
		Cgroup: rapid.SampledFrom([]string{"", "/x", "/user.slice/user-1000.slice/session-3.scope"}).Draw(t, "cgroup"),
		Probe:  health.Signal{Probe: rapid.SampledFrom([]string{"", "web"}).Draw(t, "probe"), Detail: words.Draw(t, "met")},
		Inside: rapid.SampledFrom([]health.Outcome{"", health.Pass, health.Fail, health.Unsure}).Draw(t, "inside"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "attempts") {
		f.Attempts = append(f.Attempts, Attempt{Exit: rapid.SampledFrom([]int{0, 1, 6, 12, 32, 33, 46, 125, 141, 255, -1}).Draw(t, "exit"), Done: health.Done{
			Verb: rapid.SampledFrom([]health.Verb{health.VerbStart, health.VerbStop, health.VerbKill, health.VerbRestart}).Draw(t, "verb"),
			Err:  words.Draw(t, "err"), Cause: words.Draw(t, "cause"), Already: rapid.Bool().Draw(t, "already"),
		}})
	}
	if rapid.IntRange(0, 9).Draw(t, "lock") == 0 {
		f.Sighting.Lock = &health.Lock{Operation: words.Draw(t, "operation"), Dead: rapid.Bool().Draw(t, "dead")}
	}
	f.Counters = []Counter{{Name: words.Draw(t, "counter"), Grew: rapid.Uint64Range(0, 2).Draw(t, "grew")}}
	return f
}

// allFacts adds those of the host.
func allFacts(t *rapid.T) Facts {
	f := guestFacts(t)
	words := foreign()
	f.Faults = rapid.SliceOfN(words, 0, 2).Draw(t, "faults")
	f.Kernel = rapid.SliceOfN(words, 0, 3).Draw(t, "kernel")
	f.Host = rapid.SliceOfN(words, 0, 3).Draw(t, "host")
	f.Closed, f.Going = words.Draw(t, "closed"), rapid.Bool().Draw(t, "going")
	f.Siblings = Siblings{rapid.IntRange(0, 5).Draw(t, "failing"), rapid.IntRange(0, 5).Draw(t, "total")}
	f.Counters = append(f.Counters, Counter{Name: "host", Grew: 1, Whole: rapid.Bool().Draw(t, "whole")})
	f.Changes = []Change{{rapid.SampledFrom([]string{Guest, Host, Engine, Provider, "", "x"}).Draw(t, "whose"), words.Draw(t, "what")}}
	if rapid.IntRange(0, 9).Draw(t, "acted") == 0 {
		f.Actor = &health.Actor{Argv: []string{words.Draw(t, "argv")}}
	}
	return f
}

// flaw says what is wrong with a verdict as something to hand to a technician; empty when nothing is.
func flaw(v health.Verdict) string {
	known := []string{Guest, Engine, Host, Storage, Network, Provider, Operator, Undetermined}
	switch {
	case !slices.Contains(known, v.Layer) || !slices.Contains([]string{Low, Medium, High}, v.Confidence):
		return "no known layer or confidence"
	case !strings.HasPrefix(v.Sentence, "Container ") || !strings.HasSuffix(v.Sentence, "."):
		return "no sentence"
	case v.Cure == "":
		return "no cure"
	case v.Layer != Undetermined && (v.Disproof == "" || len(v.Proof) == 0 && !strings.Contains(v.Sentence, "so do ")):
		return "a verdict without proof or disproof"
	}
	for _, text := range append([]string{v.Sentence, v.Cure, v.Disproof}, v.Proof...) {
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) }) {
			return fmt.Sprintf("control characters in %q", text)
		}
		if len(text) > 4000 {
			return fmt.Sprintf("%d bytes in one text", len(text))
		}
	}
	return ""
}

// Whatever the facts: never a panic, always something to hand over, the same answer twice, and the facts untouched.
func TestJudgeIsTotalAndPure(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := allFacts(t)
		was := fmt.Sprintf("%#v", f)
		v := Judge(f)
		if wrong := flaw(v); wrong != "" {
			t.Fatalf("%s: %+v", wrong, v)
		}
		if again := Judge(f); !reflect.DeepEqual(v, again) {
			t.Fatalf("two verdicts: %+v and %+v", v, again)
		}
		if now := fmt.Sprintf("%#v", f); now != was {
			t.Fatalf("facts changed: %s, were %s", now, was)
		}
	})
}

// Nothing that a container can bring about blames the provider, not even the very words of a failing disk.
func TestGuestFactsNeverBlameTheProvider(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := guestFacts(t)
		f.Siblings = Siblings{rapid.IntRange(0, 5).Draw(t, "failing"), rapid.IntRange(0, 5).Draw(t, "total")}
		hardware := rapid.Custom(func(t *rapid.T) string { return rapid.SampledFrom(kernelHardware()).Draw(t, "hardware").sample })
		for _, line := range rapid.SliceOfN(rapid.OneOf(foreign(), hardware), 0, 3).Draw(t, "forged") { // written to /dev/kmsg by a process
			line = strings.ReplaceAll(line, "\n", " ")
			f.Kernel = append(f.Kernel, fmt.Sprintf("<%d>[  12.345678] %s", rapid.IntRange(8, 191).Draw(t, "priority"), line))
			f.Host = append(f.Host, f.Kernel...)
		}
		if v := Judge(f); v.Layer == Provider {
			t.Fatalf("the provider is blamed without a word of the host: %+v", v)
		}
	})
}

// What a container wrote is shown, but never as a hole, a second line, or something that has no end.
func TestForeignWords(t *testing.T) {
	t.Parallel()
	for words, want := range map[string]string{
		"$1": "?1", "a\nb\x1b[1mc": "a?b?[1mc", "\xff": "?", "ä": "ä", strings.Repeat("x", 500): strings.Repeat("x", 120) + "…",
	} {
		if got := plain(words); got != want {
			t.Errorf("%q is shown as %q, want %q", words, got, want)
		}
	}
	if got := objectOf("the network is down", "network is down"); got != aThing {
		t.Errorf("an errno's own words are taken for its object: %s", got)
	}
}

// The kernel's own word of a failing disk does blame the provider, whatever the guest says besides.
func TestHardwareBlamesTheProvider(t *testing.T) {
	t.Parallel()
	disk := "<3>[211786.517987] blk_update_request: critical medium error, dev sdb, sector 0"
	start := Attempt{Exit: 1, Done: health.Done{Verb: health.VerbStart, Err: "exit 1", Cause: "something: Input/output error"}}
	for name, f := range map[string]Facts{
		"its start met the error": {Failure: WontStart, Attempts: []Attempt{start}, Host: []string{disk}},
		"it died then":            {Failure: Died, Host: []string{disk}},
		"with many others":        {Failure: Died, Host: []string{disk}, Siblings: Siblings{4, 5}},
	} {
		f.Sighting.Ref = health.Ref{Engine: "docker", ID: "web1"}
		v := Judge(f)
		if v.Layer != Provider || !strings.Contains(v.Sentence, `"sdb"`) || v.Confidence == Low {
			t.Errorf("%s: %+v", name, v)
		}
		acceptable(t, v)
	}
}

func FuzzJudge(f *testing.F) {
	for _, s := range table() {
		f.Add(s.engine, s.sample, s.near, s.exit)
	}
	f.Fuzz(func(t *testing.T, engine, words, other string, exit int) {
		for _, failure := range []Failure{Died, Sick, WontStart} {
			facts := Facts{Failure: failure, Log: other, Kernel: []string{words}, Host: []string{other}, Cgroup: "/x", Attempts: []Attempt{
				{Exit: exit, Done: health.Done{Verb: health.VerbKill, Err: words, Cause: other}},
				{Exit: exit, Done: health.Done{Verb: health.VerbStart, Err: other, Cause: words}},
			}}
			facts.Sighting = health.Sighting{Ref: health.Ref{Engine: engine, ID: "x"}, Detail: words, State: health.Running}
			if wrong := flaw(Judge(facts)); wrong != "" {
				t.Fatalf("%s: %+v", wrong, Judge(facts))
			}
		}
	})
}
