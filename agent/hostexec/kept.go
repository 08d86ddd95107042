package hostexec

import (
	"sync"
	"time"
)

// A child is a changing command under way. Its three forms are our own child (ownChild), one that an earlier agent
// started (orphan), and a transient systemd unit (unitChild).
type child interface {
	wait() ending                     // until it has ended; called once
	terminate() error                 // SIGTERM, to the command alone: what it started may already be the container
	process() (pid int, start uint64) // 0 while not known
	release()                         // after wait: lets go of what held the ending
}

// kept is one changing command from before its start until it has ended and its ending was taken. Its keeper is the
// goroutine in Host.keep.
type kept struct {
	outs   outputs
	maxOut int
	limit  time.Duration // 0: none of ours; it was started by an earlier agent

	done     chan struct{} // closed when it has ended; final is set
	tardy    chan struct{} // closed when it outlived its limit and SIGTERM
	released chan struct{} // closed when nothing of it is left, on disk or with systemd
	final    Transcript
	taken    bool // somebody has the final transcript; guarded by Host.mu

	mu        sync.Mutex
	rec       record
	child     child // nil before it is started
	pastLimit bool
}

func newKept(op Op, argv []string) *kept {
	return &kept{
		done: make(chan struct{}), tardy: make(chan struct{}), released: make(chan struct{}), maxOut: DefaultMaxOut,
		rec: record{Version: recordVersion, Op: op, Command: argv, Boot: bootID(), Started: time.Now(), name: fileName(op.ID)},
	}
}

// pending describes it. A unit's pid is asked for when it is not known yet, without holding anybody else up.
func (k *kept) pending() Pending {
	k.mu.Lock()
	r, c := k.rec, k.child
	k.mu.Unlock()
	if r.PID == 0 && c != nil {
		r.PID, r.Start = c.process()
		k.mu.Lock()
		k.rec.PID, k.rec.Start = r.PID, r.Start
		k.mu.Unlock()
	}
	return Pending{Op: r.Op, Command: r.Command, PID: r.PID, Start: r.Start, Started: r.Started, Unit: r.Unit}
}

func (k *kept) late() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pastLimit
}

func (k *kept) ended() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}

// transcript is what is known of it now, without an ending.
func (k *kept) transcript() Transcript {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := Transcript{
		Argv: k.rec.Command, PID: k.rec.PID, Unit: k.rec.Unit, Started: k.rec.Started, Took: time.Since(k.rec.Started),
		Exit: -1, TimedOut: k.pastLimit,
	}
	if k.outs.out != nil {
		t.Stdout, t.StdoutSize = head(k.outs.out, k.maxOut)
		t.Stderr, t.StderrSize = head(k.outs.err, k.maxOut)
	}
	return t
}

// leave is the transcript of a command that goes on unwaited for.
func (k *kept) leave(why string) Transcript {
	t := k.transcript()
	t.Abandoned, t.Failure = true, why
	return t
}

// grace is how long a command may take to end after SIGTERM before its caller is no longer kept waiting.
const grace = time.Second

// keep waits until k has ended, sends SIGTERM once when its limit passes, and bounds what its outputs occupy.
func (h *Host) keep(k *kept) {
	ended := make(chan ending, 1)
	go func() { ended <- k.child.wait() }()
	var limit, mercy <-chan time.Time
	if k.limit > 0 {
		limit = time.After(k.limit - time.Since(k.rec.Started))
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case e := <-ended:
			h.finish(k, e)
			return
		case <-limit:
			h.terminate(k)
			mercy = time.After(grace)
		case <-mercy:
			close(k.tardy)
		case <-tick.C:
			trim(k.outs.out, k.maxOut)
			trim(k.outs.err, k.maxOut)
		}
	}
}

// terminate asks a command past its limit to end. That is all that is ever done to it.
func (h *Host) terminate(k *kept) {
	k.mu.Lock()
	k.pastLimit = true
	k.mu.Unlock()
	err := k.child.terminate()
	p := k.pending()
	h.log.Warn("a changing command is past its limit and was sent SIGTERM",
		"op", p.Op.ID, "container", p.Op.Container, "argv", p.Command, "pid", p.PID, "limit", k.limit, "err", err)
}

// finish publishes the ending, then removes every trace.
func (h *Host) finish(k *kept, e ending) {
	p := k.pending()
	t := k.transcript()
	t.ended(e)
	t.PID = p.PID
	k.final = t
	k.outs.close()
	close(k.done)
	k.child.release()
	h.folder.remove(k.rec.name)
	h.forget(k)
	close(k.released)
}
