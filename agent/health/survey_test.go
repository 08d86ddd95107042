package health

import (
	"testing"
	"time"
)

func TestSurveyRoom(t *testing.T) {
	v := DefaultSurvey()
	at := epoch
	a, b := Ref{Engine: "lxc", ID: "a"}, Ref{Engine: "lxc", ID: "b"}
	if r := v.Room(at, a); !r.Start || !r.Restart {
		t.Fatal("no room at the beginning", r)
	}
	v.Begin(a, at, false)
	v.Begin(b, at, false)
	if r := v.Room(at, a); r.Start {
		t.Error("a third attempt at once", r)
	}
	v.End(a)
	if r := v.Room(at, a); !r.Start {
		t.Error("no room after one was answered", r)
	}
	v.Begin(a, at, false)
	if r := v.Room(at.Add(30*time.Second), a); !r.Start || v.Busy() != 0 {
		t.Error("a place is not freed after 30 s", r)
	}
	for range 10 {
		v.Begin(a, at, true)
		v.End(a)
	}
	if r := v.Room(at.Add(time.Minute), a); r.Restart || !r.Start {
		t.Error("the bucket of restarts must be empty, and starts of dead ones free", r)
	}
	if r := v.Room(at.Add(10*time.Minute), a); !r.Restart {
		t.Error("the bucket does not fill again", r)
	}
}
