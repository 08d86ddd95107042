package probes

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

func TestRunContainsPanics(t *testing.T) {
	t.Parallel()
	var none []int
	for name, p := range map[string]Probe{
		"panic":   func(context.Context, Guest) Result { panic("with \x1b[2J in it") },
		"runtime": func(context.Context, Guest) Result { return Result{Took: time.Duration(none[len(none)])} },
		"nil": func(ctx context.Context, g Guest) Result {
			_, _, err := g.Exec(ctx, nil)
			return Result{Detail: err.Error()}
		},
	} {
		r := Run(t.Context(), Spec{}, p, Guest{})
		t.Log(name, r.Detail)
		expect(t, r, health.Unsure, "panic in the probe: ", "TestRunContainsPanics.func", "run_test.go:")
	}
}

// The same end of time is a failure where it is the probe's own, and unsure where it is the caller's.
func TestRunTimeoutAndCancel(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", func(c net.Conn) { c.Read(make([]byte, 1)) })
	silent := Spec{Name: "silent", Kind: TCP, Target: target127(at), Expect: "x", Timeout: 200 * time.Millisecond}
	p, err := New(silent)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, Run(t.Context(), silent, p, Guest{}), health.Fail, "no answer within 2")

	ended, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	expect(t, Run(ended, silent, p, Guest{}), health.Unsure, "cancelled")

	silent.Timeout = time.Minute
	cancelled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	r := Run(cancelled, silent, p, Guest{})
	expect(t, r, health.Unsure, "cancelled")
	if r.Took > long {
		t.Errorf("a cancelled probe went on for %v", r.Took)
	}
	expect(t, Run(cancelled, silent, p, Guest{}), health.Unsure, "cancelled")
}

func TestRunOnAHostThatStoodStill(t *testing.T) {
	t.Parallel()
	s := Spec{Timeout: 20 * time.Millisecond}
	r := Run(t.Context(), s, func(context.Context, Guest) Result {
		time.Sleep(2*s.Timeout + 1100*time.Millisecond)
		return Result{Outcome: health.Fail, Detail: "no answer"}
	}, Guest{})
	expect(t, r, health.Unsure, "this host stood still", "no answer")
}

func TestRunBoundsItsLines(t *testing.T) {
	t.Parallel()
	r := Run(t.Context(), Spec{}, func(context.Context, Guest) Result {
		return Result{Outcome: health.Fail, Detail: strings.Repeat("ä\n", 1000), Warning: "a\u202eb\x00\xff"}
	}, Guest{})
	expect(t, r, health.Fail)
	if len(r.Detail) > maxLine || r.Warning != "a b ?" {
		t.Errorf("detail of %d bytes, warning %q", len(r.Detail), r.Warning)
	}
}
