package probes

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"atalaya/agent/health"
)

// A check does the work of one kind. It returns the detail of a pass; an error fails, and an error marked by unsure is
// unsure.
type check func(ctx context.Context, g Guest, t *trial) (string, error)

// A trial is one run under way: what it has found so far.
type trial struct {
	began  time.Time
	result Result
	log    clip
}

// probe makes a Probe of c.
func (c check) probe() Probe {
	return func(ctx context.Context, g Guest) Result {
		t := &trial{began: time.Now(), log: clip{max: maxTranscript}}
		detail, err := c(ctx, g, t)
		r := &t.result
		r.Outcome, r.Detail = health.Pass, detail
		if err != nil {
			r.Outcome, r.Detail = health.Fail, err.Error()
			if isUnsure(err) {
				r.Outcome = health.Unsure
			}
			// Our own limit ends ctx with DeadlineExceeded: Canceled comes from the caller.
			if ctx.Err() == context.Canceled {
				r.Outcome, r.Detail = health.Unsure, "cancelled: "+r.Detail
			}
		}
		r.Transcript = t.log.bytes()
		return *r
	}
}

// after says how long the trial has taken so far.
func (t *trial) after() string { return " after " + millis(time.Since(t.began)) }

// stepErr says what was attempted since began and what came of it. It is unsure where err speaks of this host.
func stepErr(doing string, began time.Time, err error) error {
	took := millis(time.Since(began))
	if timedOut(err) {
		return errors.New(doing + ": no answer within " + took)
	}
	step := errors.New(doing + ": " + because(err) + " after " + took)
	if !ofService(err) {
		return unsure{step}
	}
	return step
}

// unsure marks an error that says nothing about the service.
type unsure struct{ error }

func (u unsure) Unwrap() error { return u.error }

func isUnsure(err error) bool {
	_, ok := errors.AsType[unsure](err)
	return ok
}

// timedOut says that time ran out on us, which is not ETIMEDOUT: that one the kernel says of the other side.
func timedOut(err error) bool {
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// because gives the innermost words of an error: "connection refused", not "dial tcp …: connect: connection refused".
func because(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the other side closed the connection"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// ofService says that err is the service's doing, or the network's on the way to it. Of errno only those count that the
// other side or a router can cause; every other one (EMFILE, ENOBUFS, EADDRNOTAVAIL, EPERM, EAFNOSUPPORT, ENODEV, …)
// is this host's. Whether an unreachable network is local is dial's to tell.
func ofService(err error) bool {
	if isUnsure(err) {
		return false
	}
	if _, ok := errors.AsType[x509.SystemRootsError](err); ok {
		return false
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return !errors.Is(err, context.Canceled)
	}
	switch errno {
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EACCES, syscall.EPROTO,
		syscall.ENOPROTOOPT, syscall.EOPNOTSUPP:
		return true
	}
	return false
}
