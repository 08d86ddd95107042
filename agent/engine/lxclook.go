package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// lxcEntry is what is remembered of one container between two questions. Guarded by lxc.mu.
type lxcEntry struct {
	mark   string
	conf   lxcConf
	state  health.RunState // "": never asked
	detail string
	init   health.Process
	addrs  []health.Addr // of this life of init, as they were when it was last asked
	freeze string        // file that tells whether this init is frozen
	frozen string        // the words in it that say so
	fault  string        // the conf.mark whose fault is in detail
	lock   *health.Lock  // of its creation
}

// look asks for one container. With dead given, and truly dead, nothing is started: this is the way from a death to its
// healing.
func (l *lxc) look(ctx context.Context, id string, dead health.Process) (health.Sighting, error) {
	f, ok := l.folder(id)
	if !ok {
		if _, err := os.Stat(l.path); err != nil {
			return health.Sighting{}, fmt.Errorf("the lxcpath cannot be read: %w", err)
		}
	}
	if s, ok := l.lookDead(id, f, ok, dead); ok {
		return s, nil
	}
	info, err := l.ask(ctx, id, lxcAskWithin)
	if err != nil {
		return health.Sighting{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if info.gone {
		delete(l.known, id)
		return health.Sighting{Ref: l.ref(id), Name: id, Mark: f.mark, State: health.Removed, At: time.Now()}, nil
	}
	e := l.entry(id, f)
	e.learn(info, id, l)
	return l.sighting(id, e), nil
}

// lookDead answers where no process is needed: the container is gone, being created, or its init ended and no other
// init of it is known to live.
func (l *lxc) lookDead(id string, f lxcFolder, defined bool, dead health.Process) (health.Sighting, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.known[id]
	lives := e != nil && e.init.PID != 0 && !same(e.init, dead) && alive(e.init)
	switch {
	case lives:
		return health.Sighting{}, false
	case defined && f.lock != nil:
		e = l.entry(id, f)
		e.creating(f.lock)
		return l.sighting(id, e), true
	case dead.PID == 0 || alive(dead):
		return health.Sighting{}, false // also where no definition is left: it may run on without one
	case !defined:
		delete(l.known, id)
		return health.Sighting{Ref: l.ref(id), Name: id, State: health.Removed, At: time.Now()}, true
	}
	e = l.entry(id, f)
	e.stopped(fmt.Sprintf("init %d has ended", dead.PID))
	return l.sighting(id, e), true
}

// entry gives what is known of a container, forgetting it when the folder is another one, and reading its configuration
// when that changed. The caller holds mu.
func (l *lxc) entry(id string, f lxcFolder) *lxcEntry {
	e := l.known[id]
	if e == nil || f.mark != "" && e.mark != f.mark {
		e = &lxcEntry{mark: f.mark}
		l.known[id] = e
	}
	if f.mark == "" {
		return e // it runs on without a definition: the last known one stands
	}
	if len(e.conf.files) == 0 || lxcConfMark(e.conf.files) != e.conf.mark {
		e.conf = readLXCConf(filepath.Join(l.path, id, "config"))
	}
	return e
}

// ask runs one lxc-info. A container that does not answer is remembered as slow.
func (l *lxc) ask(ctx context.Context, id string, within time.Duration) (lxcInfo, error) {
	argv := l.argv("lxc-info", id, append([]string{"-s", "-p", "-i", "-H"}, logTo("")...)...)
	t := l.run.Read(ctx, hostexec.Command{Argv: argv, Timeout: within, MaxOut: 64 << 10})
	if t.TimedOut && ctx.Err() == nil {
		why := fmt.Sprintf("no answer from lxc-info within %s%s", within, prefixed("; ", l.hint(id)))
		l.mu.Lock()
		l.slow[id] = why
		l.mu.Unlock()
		return lxcInfo{}, errors.New(why)
	}
	info := parseLXCInfo(t.Stdout, t.Stderr)
	if err := t.Err(); err != nil && !info.gone && info.fault == "" {
		return lxcInfo{}, err
	}
	if _, known := lxcState(info.state); !known && !info.gone && info.fault == "" {
		return lxcInfo{}, fmt.Errorf("lxc-info says %q, which is no state of LXC", tidy(info.state))
	}
	l.mu.Lock()
	delete(l.slow, id)
	l.mu.Unlock()
	return info, nil
}

// learn takes in an answer, checked against /proc: neither the tool nor the kernel alone is believed.
func (e *lxcEntry) learn(i lxcInfo, id string, l *lxc) {
	if i.fault != "" {
		if e.init.PID == 0 || !alive(e.init) {
			e.born(lxcInit(l.path, id), nil)
		}
		e.state, e.detail, e.fault = health.Broken, i.fault, e.conf.mark
		if e.init.PID != 0 {
			e.detail += fmt.Sprintf(" (init %d still runs)", e.init.PID)
		}
		return
	}
	e.fault = ""
	state, _ := lxcState(i.state)
	if state == health.Stopped {
		if e.init.PID != 0 && alive(e.init) {
			e.state = health.Unknown
			e.detail = fmt.Sprintf("LXC says STOPPED, but its init %d lives: is the agent in another network namespace than the containers' monitors?", e.init.PID)
			return
		}
		e.stopped("")
		return
	}
	p, ok := identify(i.pid)
	switch {
	case ok:
		e.born(p, i.addrs)
		e.state, e.detail = state, ""
		if state != health.Running {
			e.detail = i.state
		} else {
			e.thaw()
		}
	case state == health.Busy:
		e.state, e.detail, e.init, e.addrs = health.Busy, i.state, health.Process{}, nil
	default:
		e.state, e.init, e.addrs = health.Unknown, health.Process{}, nil
		e.detail = fmt.Sprintf("LXC says %s, but its init %d is gone: it is just ending", i.state, i.pid)
	}
}

// born takes a life of init, which may be none.
func (e *lxcEntry) born(p health.Process, addrs []health.Addr) {
	e.freeze, e.frozen, e.lock = "", "", nil
	if p.PID != 0 {
		e.freeze, e.frozen = freezerFile(p.PID)
	}
	e.init, e.addrs = p, addrs
}

func (e *lxcEntry) stopped(detail string) {
	e.state, e.detail = health.Stopped, detail
	e.born(health.Process{}, nil)
}

// creating takes what is half made; left over, it is not busy: nobody will end it.
func (e *lxcEntry) creating(lock *health.Lock) {
	e.stopped("its creation was interrupted, and LXC will not start it: lxc-destroy it, or remove its file \"partial\"")
	if !lock.Dead {
		e.state, e.detail = health.Busy, "it is being created"
	}
	e.lock = lock
}

// sighting tells what is known now. The caller holds mu. Addresses are those of the last answer about this life of init:
// one that got its address later shows none here, and package sentinel reads them from the kernel.
func (l *lxc) sighting(id string, e *lxcEntry) health.Sighting {
	return health.Sighting{
		Ref: l.ref(id), Name: id, Mark: e.mark, State: e.state, Detail: tidy(e.detail), Init: e.init, Lock: e.lock,
		Autostart: e.conf.autostart, Config: e.conf.mark, Addrs: slices.Clone(e.addrs), Links: slices.Clone(e.conf.links), At: time.Now(),
	}
}

func (l *lxc) ref(id string) health.Ref {
	return health.Ref{Engine: "lxc", Instance: l.spec.Instance, ID: id}
}

// same tells one life from another; a start time of 0 was not read.
func same(a, b health.Process) bool {
	return a.PID == b.PID && (a.Start == b.Start || a.Start == 0 || b.Start == 0)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
