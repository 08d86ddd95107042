package evidence

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"atalaya/agent/hostexec"
)

const (
	// lease is how long an item holds its slot. What takes longer waits for something rather than computes, and must not
	// keep the others from being taken in time.
	lease = 40 * time.Millisecond
	// patience is what a collector gets to come back with what it has, once its deadline has passed.
	patience = 50 * time.Millisecond
	// runnerPatience is the same for a command: the runner has the same deadline, and kills what it started first.
	runnerPatience = 500 * time.Millisecond
	// maxHung is how many collectors may hang for good before no more are let in (a goroutine and a thread each); the few
	// that are under way at that moment may still join them.
	maxHung = 32
)

// slot waits for leave to compute, and gives what gives it back: called twice, it gives it back once.
func (r *Recorder) slot(ctx context.Context) (release func(), err error) {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var once sync.Once
	free := func() { once.Do(func() { <-r.slots }) }
	t := time.AfterFunc(lease, free)
	return func() { t.Stop(); free() }, nil
}

// collect takes one item. It returns by its deadline and a little, whatever the item does; what hangs is left behind and
// counted, because a read in uninterruptible sleep can be neither cancelled nor awaited.
func (r *Recorder) collect(ctx context.Context, i Item, limit time.Duration) found {
	f := r.attempt(ctx, i, limit)
	outcome := outcomeTaken
	switch {
	case errors.Is(f.err, context.DeadlineExceeded):
		outcome = outcomeLate
	case f.err != nil:
		outcome = outcomeFailed
	case f.size < 0 || f.size > int64(len(f.data)):
		outcome = outcomeCut
	}
	r.metrics.items.WithLabelValues(outcome).Inc()
	return f
}

func (r *Recorder) attempt(ctx context.Context, i Item, limit time.Duration) found {
	if n := r.hung.Load(); n >= maxHung {
		return found{err: fmt.Errorf("not tried: %d earlier pieces of evidence still hang", n)}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	back := make(chan found, 1)
	go func() { back <- r.take(ctx, i, limit) }()
	select {
	case f := <-back:
		return f
	case <-ctx.Done():
	}
	grace := patience
	if i.Argv != nil {
		grace = runnerPatience
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case f := <-back:
		return f
	case <-t.C:
		r.hung.Add(1)
		go func() { <-back; r.hung.Add(-1) }()
		return found{err: fmt.Errorf("no answer within %v: %w", limit, ctx.Err())}
	}
}

// take asks the item's source, and contains its panics.
func (r *Recorder) take(ctx context.Context, i Item, limit time.Duration) (f found) {
	defer func() {
		if p := recover(); p != nil {
			f = found{err: fmt.Errorf("panicked: %v", p)}
		}
	}()
	switch {
	case len(i.Argv) > 0:
		return r.command(ctx, i, limit)
	case i.Path != "":
		return readFile(ctx, i)
	case i.Func != nil:
		data, err := i.Func(ctx)
		f = bounded(data, int64(len(data)), i)
		f.err = err
		return f
	case i.Data != nil:
		return bounded(i.Data, int64(len(i.Data)), i)
	}
	return found{err: errShapeless}
}

func (r *Recorder) command(ctx context.Context, i Item, limit time.Duration) found {
	keep := i.max()
	if i.keepsTail() {
		keep = MaxMax // the runner keeps the first bytes: the last ones are in them as far as this reaches
	}
	runner := r.o.Runner
	if i.Runner != nil {
		runner = i.Runner
	}
	t := runner.Read(ctx, hostexec.Command{Argv: i.Argv, Timeout: limit, MaxOut: keep})
	f := fromTranscript(t, i)
	switch {
	case t.Failure == "":
	case t.TimedOut, errors.Is(ctx.Err(), context.DeadlineExceeded):
		f.err = fmt.Errorf("no answer within %v: %w", t.Took.Round(time.Millisecond), context.DeadlineExceeded)
	default:
		f.err = errors.New(t.Failure)
	}
	return f
}

func fromTranscript(t hostexec.Transcript, i Item) found {
	f := bounded(t.Stdout, t.StdoutSize, i)
	f.stderr, f.errSize, f.signal = bound(t.Stderr, min(i.max(), MaxMax), false), t.StderrSize, t.Signal
	if t.Exit >= 0 {
		f.exit = &t.Exit
	}
	return f
}

// bounded keeps of data, of which size bytes were there, what the item wants kept.
func bounded(data []byte, size int64, i Item) found {
	return found{data: bound(data, i.max(), i.keepsTail()), size: max(size, int64(len(data)))}
}
