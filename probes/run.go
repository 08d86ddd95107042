package probes

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"atalaya/agent/health"
)

// New compiles s, reading its CA file. Its error joins everything that Validate finds.
func New(s Spec) (Probe, error) {
	if errs := s.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("probe %q: %w", s.Name, errors.Join(errs...))
	}
	c, err := compile(s)
	if err != nil {
		return nil, fmt.Errorf("probe %q: %w", s.Name, err)
	}
	return c.probe(), nil
}

// compile gives the check of a valid s.
func compile(s Spec) (check, error) {
	switch s.Kind {
	case ICMP:
		return newICMP(s)
	case TCP:
		return newTCP(s)
	case HTTP, HTTPS:
		return newHTTP(s)
	case TLS:
		return newTLS(s)
	case DNS:
		return newDNS(s)
	case Exec:
		return newExec(s)
	}
	return nil, fmt.Errorf("kind: %q is unknown", s.Kind)
}

// Run carries out p, which is New's of s, once. It takes at most s.Timeout and what the guest's Dial and Exec need to
// notice the end of their context; it starts no goroutine of its own. A panic is contained and unsure. What did not pass
// while ctx was ending is unsure too: that says nothing about the service. Likewise what failed after far more time than
// it had: then this host stood still.
func Run(ctx context.Context, s Spec, p Probe, g Guest) (r Result) {
	began := time.Now()
	defer func() {
		if v := recover(); v != nil {
			r = Result{Outcome: health.Unsure, Detail: fmt.Sprintf("panic in the probe: %v, at %s", v, thrower())}
		}
		r.Took = time.Since(began)
		if r.Outcome == health.Fail {
			if why := excuse(ctx, r.Took, s.limit()); why != "" {
				r.Outcome, r.Detail = health.Unsure, why+": "+r.Detail
			}
		}
		r.Detail, r.Warning = plain(r.Detail, maxLine), plain(r.Warning, maxLine)
	}()
	within, cancel := context.WithTimeout(ctx, s.limit())
	defer cancel()
	return p(within, g)
}

// excuse says why a failure is not the service's.
func excuse(parent context.Context, took, limit time.Duration) string {
	if over(parent) {
		return "cancelled"
	}
	if took > 2*limit+time.Second {
		return "this host stood still, " + millis(took) + " went by where " + millis(limit) + " were allowed"
	}
	return ""
}

// thrower gives the function, file and line of the code that panicked: the first frame below the runtime's own.
func thrower() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	thrown := false
	for {
		f, more := frames.Next()
		if f.Function == "runtime.gopanic" {
			thrown = true
		} else if thrown && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s (%s:%d)", filepath.Base(f.Function), filepath.Base(f.File), f.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}
