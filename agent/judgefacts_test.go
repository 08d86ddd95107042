package agent

import (
	"strings"
	"testing"

	"atalaya/agent/diagnose"
	"atalaya/agent/health"
)

// What the loop knows of its attempts is what the verdict is made from: exit codes and words of each, the engine's own word
// for the state, and what the host says. The attempts are those of testdata/openvz/vzctl-cannot-stop-or-restart.txt.
func TestJudgeIsToldOfEveryAttempt(t *testing.T) {
	t.Parallel()
	g := &guest{ref: health.Ref{Engine: "openvz", ID: "102"}}
	g.sight = health.Sighting{Ref: g.ref, Name: "customer1", State: health.Running}
	g.state.Host = health.HostWord{Closed: "vz.service is being stopped", Going: true}
	c := &health.Case{Kind: health.CaseSick, Probe: "web", Detail: "dial tcp 10.0.0.102:80: connect: connection refused"}
	turn := &turn{Agent: &Agent{guests: map[health.Ref]*guest{g.ref: g}}}

	facts, _ := turn.facts(g, c)
	if v := diagnose.Judge(facts); v.Layer != diagnose.Guest || facts.Closed == "" || !facts.Going {
		t.Errorf("before anything was tried: %s: %s (closed %q)", v.Layer, v.Sentence, facts.Closed)
	}
	killed := health.Tried{Verb: health.VerbKill, Exit: 33, Answer: "Failed to wait for CT tasks to die\nUnable to stop container: operation timed out\n",
		Cause: "Failed to wait for CT tasks to die (exit 33: it cannot be stopped)"}
	g.tried = []health.Tried{
		{Verb: health.VerbRestart, Exit: 33, Cause: killed.Cause, Answer: "Child 13015 exited with status 6\n" + killed.Answer},
		killed,
		{Verb: health.VerbStart, Exit: 32, Answer: "Container is already running\n"},
		killed,
	}
	facts, of := turn.facts(g, c)
	v := diagnose.Judge(facts)
	if of.Failed != 4 || v.Layer != diagnose.Engine || v.Confidence != diagnose.High ||
		!strings.Contains(v.Sentence, "can be neither started nor stopped by its own host") {
		t.Errorf("%d failed: %s %s: %s", of.Failed, v.Layer, v.Confidence, v.Sentence)
	}
	if proof := strings.Join(v.Proof, "\n"); !strings.Contains(proof, "restart: exit 33") || !strings.Contains(proof, "start: exit 32") {
		t.Errorf("the proof does not tell of the attempts: %q", v.Proof)
	}

	g.tried = []health.Tried{{Verb: health.VerbStop, Exit: 0, Cause: "the guest did not follow the wish to end"}}
	if facts, of = turn.facts(g, c); of.Failed != 1 || facts.Attempts[0].Err == "" {
		t.Errorf("an attempt that failed with exit code 0 is taken for one that worked: %+v", facts.Attempts)
	}
}
