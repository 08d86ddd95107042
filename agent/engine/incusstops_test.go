package engine_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

// follow follows the events until the test ends, and tells whether one spoke of a container.
func (v *incusTest) follow() (told func(id string) bool) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var ids []string
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = v.i.Events(ctx, func(id string) { mu.Lock(); ids = append(ids, id); mu.Unlock() })
	})
	v.Cleanup(func() { cancel(); wg.Wait() })
	told = func(id string) bool { mu.Lock(); defer mu.Unlock(); return slices.Contains(ids, id) }
	if v.Get("p1_db") == nil {
		v.AddIncus(scripted.Container{ID: "p1_db", Name: "db", Keys: map[string]string{"project": "p1"}})
	}
	eventually(v.T, "events come", func() bool {
		v.StartIncus("p1_db")
		v.StopIncus("p1_db", "alice")
		return told("p1_db")
	})
	return told
}

func (v *incusTest) whoStopped() {
	v.StopIncus("web1", "alice")
	if s := v.see(); s.State != health.Stopped || s.OnPurpose != `its operation "Stopping instance"` || s.Lock != nil {
		v.Errorf("%+v", s)
	}
	if s := v.listed(); s.OnPurpose != `its operation "Stopping instance"` {
		v.Errorf("%+v", s)
	}
	v.StartIncus("web1")
	before := v.see().Init
	v.Kill9("web1")
	if s, err := v.i.Look(context.Background(), "web1", before); err != nil || s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("it died after it was started again: %+v %v", s, err)
	}
	if s := v.listed(); s.OnPurpose != "" {
		v.Errorf("it died after it was started again: %+v", s)
	}
	v.StartIncus("web1")
	for _, verb := range []health.Verb{health.VerbStop, health.VerbKill} {
		if a := v.i.Do(context.Background(), verb, "web1", 0); a.Err != "" {
			v.Fatalf("%s: %+v", verb, a)
		}
		if s := v.see(); s.State != health.Stopped || s.OnPurpose != "" {
			v.Errorf("%s: it was us: %+v", verb, s)
		}
		v.StartIncus("web1")
	}
}

// The daemon is busy with a container that has died: the look lasts until it can be started.
func (v *incusTest) dies() {
	before := v.see().Init
	v.Kill9("web1")
	if a := v.i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err == "" || a.Already || a.Cause != `Failed to create instance start operation: Instance is busy running a "stop" operation` {
		v.Errorf("%+v", a)
	}
	s, err := v.i.Look(context.Background(), "web1", before)
	if err != nil || s.State != health.Stopped {
		v.Errorf("%+v %v", s, err)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "web1", 0); a.Err != "" {
		v.Errorf("a start right after the look: %+v", a)
	}
}

func (v *incusTest) events() {
	told := v.follow()
	ctx := context.Background()
	list(v.T, v.i)
	v.StopIncus("web1", "alice")
	eventually(v.T, "it is told", func() bool { return told("web1") })
	if s := v.listed(); s.OnPurpose != "instance-stopped by alice (unix)" {
		v.Errorf("%+v", s)
	}
	v.StartIncus("web1")
	before := v.see().Init
	v.Kill9("web1")
	if s, err := v.i.Look(ctx, "web1", before); err != nil || s.State != health.Stopped || s.OnPurpose != "" {
		v.Errorf("nobody asked for it: %+v %v", s, err)
	}
}

// A reboot from inside is no death: the look lasts until the new life has begun.
func (v *incusTest) reboots() {
	before := v.see().Init
	v.set("reboots", "yes")
	v.Kill9("web1")
	s, err := v.i.Look(context.Background(), "web1", before)
	if err != nil || s.State != health.Running || s.Init == before || s.Init.PID == 0 || s.OnPurpose != "" {
		v.Errorf("%+v %v, was %v", s, err, before)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "web1", 0); !a.Already {
		v.Errorf("%+v", a)
	}
}

// What is at work on an instance is a lock, but an open exec is none, nor what is at work on another.
func (v *incusTest) locks() {
	v.AddIncus(scripted.Container{ID: "p1_web1", Name: "web1", Keys: map[string]string{"project": "p1"}})
	at := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	for _, tt := range []struct{ op, status, want string }{
		{"Backing up instance", "running", "Backing up instance"}, {"Migrating instance", "pending", "Migrating instance"},
		{"Executing command", "running", ""}, {"Showing console", "running", ""}, {"Backing up instance", "success", ""}, {"Stopping instance", "failure", ""},
	} {
		v.set("op", tt.op)
		v.set("opstatus", tt.status)
		v.set("opat", at.Format(time.RFC3339Nano))
		s := v.see()
		if (s.Lock == nil) != (tt.want == "") || s.Lock != nil && (s.Lock.Operation != tt.want || !s.Lock.Since.Equal(at)) {
			v.Errorf("%+v: %+v", tt, s.Lock)
		}
		if s := look(v.T, v.i, "p1_web1"); s.Lock != nil || s.OnPurpose != "" {
			v.Errorf("%+v is not about it: %+v", tt, s)
		}
	}
}
