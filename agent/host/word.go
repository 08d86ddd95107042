package host

import (
	"fmt"
	"time"
)

// This file is pure: facts in, Word out.

// A Word is what the host's and an engine's comings and goings mean for the containers of that engine. The zero value,
// but for Boot, means: nothing in the way.
type Word struct {
	// Closed says in one sentence why nothing may be started now; empty when nothing is in the way. It holds no running
	// figures: it changes when the reason does.
	Closed string
	// Going: what stops now is stopped by the host or its engine, not on purpose. Closed is set then, too.
	Going bool
	// Booting: the host came up less than BootWithin ago and the engine's own autostart has not finished.
	Booting bool
	// Boot tells boots of this host apart: see BootID.
	Boot string
}

const (
	// BootWithin is how long the engine's own autostart is waited for, after boot and after a restart of its service.
	BootWithin = 10 * time.Minute
	// lingerFor is how long after the end of a stop job deaths still count as its doing: they may be looked at late.
	lingerFor = 2 * time.Second
	// scheduledWithin is how long before a scheduled shutdown nothing is started any more; logind refuses logins as long.
	scheduledWithin = 5 * time.Minute
)

// facts is what is known of systemd.
type facts struct {
	system    string // "running", "stopping", …; empty: not known
	units     map[string]unit
	scheduled schedule
	booted    time.Time
	boot      string
}

// A unit is what systemd says of one of its units, and since when.
type unit struct {
	active  string    // active, inactive, activating, deactivating, failed, …; empty: not known
	job     string    // start, stop, restart, …; empty: none
	started time.Time // when it last left inactive; zero: never in this boot, or not asked for, as it is active
	stopped time.Time // when it last left active; zero likewise
	went    time.Time // when it was last seen going
}

// going says whether the unit is being stopped, in order to be started again or not.
func (u unit) going() bool {
	return u.active == "deactivating" || u.job == "stop" || u.job == "restart" || u.job == "try-restart"
}

// coming says whether the unit is being started, or about to be.
func (u unit) coming() bool { return u.active == "activating" || u.job == "start" }

// firstComing says whether it is being started for the first time in this boot, and not again by somebody.
func (u unit) firstComing() bool {
	return u.coming() && !u.going() && u.stopped.IsZero() && u.went.IsZero()
}

// judge gives the Word about an engine with these units.
func judge(f facts, units []string, autostarter string, now time.Time) Word {
	w := Word{Boot: f.boot}
	if f.system == "stopping" {
		w.Closed, w.Going = "the host is shutting down (systemd is stopping)", true
		return w
	}
	if auto := f.units[autostarter]; autostarter != "" && auto.firstComing() && now.Sub(f.booted) < BootWithin {
		w.Booting = true
		w.Closed = fmt.Sprintf("the host came up at %s and %s is still starting its containers", clock(f.booted), autostarter)
		return w
	}
	for _, name := range units {
		if w.Closed, w.Going = f.unitWord(name, name == autostarter, now); w.Closed != "" {
			return w
		}
	}
	if s := f.scheduled; s.real() && s.at.Sub(now) < scheduledWithin {
		w.Closed = fmt.Sprintf("the host is to go down at %s (%s, scheduled)", clock(s.at), s.mode)
	}
	return w
}

// unitWord says what one unit means for its containers. Only an autostarter that is inactive again was stopped by somebody:
// a daemon that is started by its socket (libvirtd) ends when it is idle.
func (f facts) unitWord(name string, autostarter bool, now time.Time) (closed string, going bool) {
	u := f.units[name]
	late := now.Sub(u.went) < lingerFor
	switch {
	case u.job == "restart" || u.job == "try-restart":
		return name + " is being restarted", true
	case u.going():
		return name + " is being stopped", true
	case u.coming() && now.Sub(later(u.started, f.booted)) < BootWithin:
		return name + " is starting its containers", late
	case autostarter && u.active == "inactive" && !u.stopped.IsZero():
		return fmt.Sprintf("%s was stopped at %s and has not been started again", name, clock(u.stopped)), late
	case late:
		return name + " was stopped just now", true
	}
	return "", false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// clock is a time of day for people, in the host's zone; a date as well when it is of another day would make the sentence
// change at midnight.
func clock(t time.Time) string { return t.Local().Format("15:04:05 MST") }
