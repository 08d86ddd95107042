package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"atalaya/agent/health"
	"atalaya/agent/store"
	"atalaya/cmd/atalaya-lab/rig"
)

// What is decided is on the disk before it is done: the container's own start hook takes a copy of the store, and that
// knows of the attempt already. An agent killed at this moment has a successor that counts it.
func TestAnAttemptIsCommittedBeforeItIsMade(t *testing.T) {
	t.Parallel()
	l := newRig(t, rig.LXCOptions{})
	p := planFor(t, l)
	hook, taken := filepath.Join(l.Scratch(), "hook"), filepath.Join(t.TempDir(), "taken")
	replace(t, hook, fmt.Sprintf("#!/bin/sh\n[ -d '%s' ] && cp -r '%[1]s' '%s'\nexit 0\n", p.state(), taken))
	l.Add("web1", "lxc.hook.pre-start = "+hook)
	l.Start("web1")
	r := p.start(t)
	r.up("lxc/web1")
	kill9(t, l, "web1")
	in := r.resolved("lxc/web1", 1)[0]

	_ = os.Remove(filepath.Join(taken, "lock")) // the copy of a lock that is held elsewhere
	s, _, err := store.Open(store.Options{Dir: taken})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	loaded, err := s.Load(t.Context())
	if err != nil || len(loaded.States) != 1 {
		t.Fatalf("%v, %+v", err, loaded)
	}
	got := loaded.States[0]
	if got.Phase != health.Starting || len(got.Attempts) != 1 || got.Case == nil || got.Case.ID != in.ID {
		t.Errorf("at the start of the container the store held %s, attempts %+v, case %+v", got.Phase, got.Attempts, got.Case)
	}
}
