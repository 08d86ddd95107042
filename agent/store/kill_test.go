package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

const perBatch = 7 // rows of each kind that belong together

// writeForever commits batches whose parts all carry the batch's number, until it is killed. It prints each number that
// was acknowledged.
func writeForever(dir string) {
	s, _, err := store.Open(store.Options{Dir: dir})
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	ctx := context.Background()
	l, err := s.Load(ctx)
	if err != nil {
		fmt.Println("load:", err)
		os.Exit(1)
	}
	n, _ := strconv.Atoi(l.Meta["n"])
	for first := true; ; first = false {
		n++
		b := store.Batch{At: epoch.Add(time.Duration(n) * time.Second), Meta: map[string]string{"n": strconv.Itoa(n)}}
		i := incident(n, web1)
		b.Incidents = []health.Incident{i}
		for k := range perBatch {
			ref := health.Ref{Engine: "lxc", ID: fmt.Sprintf("web%d", k)}
			b.States = append(b.States, state(ref, strconv.Itoa(n)))
			b.Notes = append(b.Notes, store.Note{Ref: ref, Incident: i.ID, At: b.At, Kind: "note", Text: strconv.Itoa(k)})
			b.Alerts = append(b.Alerts, queued("ops", i, k+1, health.AlertUpdate, epoch))
		}
		if err := s.Commit(ctx, b); err != nil {
			fmt.Println("commit:", err)
			os.Exit(1)
		}
		os.WriteFile(dir+"/acknowledged", []byte(strconv.Itoa(n)), 0o600)
		if first {
			fmt.Println("writing")
		}
	}
}

// Thirty agents die in the middle of writing, each with the work of all before it. Every batch is there as a whole or
// not at all, and every one that was acknowledged is there.
func TestKilledWhileWriting(t *testing.T) {
	dir := t.TempDir()
	last := 0
	for round := range 30 {
		c, _, first := child(t, "write", dir)
		if first != "writing" {
			t.Fatalf("round %d: %s", round, first)
		}
		time.Sleep(time.Duration(rand.IntN(25_000)) * time.Microsecond) // not waiting for anything: the moment of death
		c.Process.Kill()
		c.Wait()
		last = whole(t, dir, last)
	}
	t.Logf("%d batches survived 30 kills", last)
	if last < 30 {
		t.Errorf("only %d batches were written: the kills came before the writing", last)
	}
}

func whole(t *testing.T, dir string, before int) int {
	t.Helper()
	s, r, err := store.Open(store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if r.SetAside != "" || r.Orderly {
		t.Fatalf("after a kill: %+v", r)
	}
	l := load(t, s)
	n, _ := strconv.Atoi(l.Meta["n"])
	acknowledged, _ := os.ReadFile(dir + "/acknowledged")
	if a, _ := strconv.Atoi(string(acknowledged)); n < a || n < before {
		t.Fatalf("batch %d is the last, but %d was acknowledged and %d was there before", n, a, before)
	}
	if n == 0 {
		return 0
	}
	if len(l.States) != perBatch || len(l.Open) != n || !l.LastAt.Equal(epoch.Add(time.Duration(n)*time.Second)) {
		t.Fatalf("batch %d: %d states, %d incidents, last at %v", n, len(l.States), len(l.Open), l.LastAt)
	}
	for _, st := range l.States {
		if st.Why != strconv.Itoa(n) {
			t.Fatalf("batch %d is there, but the state of %s is from batch %s", n, st.Ref, st.Why)
		}
	}
	out, err := s.Outbox(t.Context(), true)
	if err != nil || len(out) != n*perBatch {
		t.Fatalf("batch %d: %d alerts, %v", n, len(out), err)
	}
	_, notes, err := s.Incident(t.Context(), incident(n, web1).ID)
	if err != nil || len(notes) != perBatch {
		t.Fatalf("batch %d: %d notes, %v", n, len(notes), err)
	}
	return n
}
