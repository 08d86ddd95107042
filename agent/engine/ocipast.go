package engine

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"
)

// Who ended a container. Neither list nor inspect tells (podman's from version 5 on does). Three records do:
//
//   - docker's own, HasBeenManuallyStopped in the container's config.v2.json. It is written before the signal is sent,
//     kept over restarts, not set when the daemon itself shuts down, and reading it takes no process. But it is set by
//     every signal that "docker kill" sends, also by the HUP of a log rotation (20.10 to 29, killWithSignal).
//   - The events, remembered while Events follows them: they have the signal, and tell such a HUP.
//   - podman's log of events, asked about all that newly ended. Its "stop" is missing from it more often than not, where
//     the cleanup that conmon starts is quicker than the stop itself (13 of 18 with 4.3.1). But then both clean up: two
//     cleanups after one end mean a stop (19 of 19), one means that it ended by itself (10 of 10, attached or not).
//   - podman's state "stopping", when it is met at the death.
//
// Each end is asked about once, so this too is a number of processes that depends on what happens and not on how many
// containers there are.

const (
	// ociKillWorks is how soon a container ends by a signal that is not meant to end it, if that does.
	ociKillWorks = 5 * time.Second
	// ociStopWorks is how long a stop may wait for a container to end.
	ociStopWorks = time.Hour
	// ociRecent is how long ago a container may have ended for its log of events to be asked.
	ociRecent = time.Hour
	// ociLogged is how soon podman's log of events is complete about an end: 20 ms, measured.
	ociLogged = 150 * time.Millisecond
	// ociShutdown is how long before a boot the shutdown that it followed may have begun.
	ociShutdown = 5 * time.Minute
)

// ociTold is what the events told about one container's last end. Guarded by oci.mu.
type ociTold struct {
	order  string    // what it was told: "kill", "stop"
	signal string    // docker: the number
	at     time.Time // when
	died   time.Time
	tidied time.Time // podman: the last cleanup after died
	twice  bool      // and it was not the first
	asked  time.Time // the end about which podman's log was asked for good
}

// take takes in one event.
func (t *ociTold) take(v ociEvent) {
	switch v.action {
	case "start":
		*t = ociTold{asked: t.asked}
	case "died":
		t.died = v.at
	case "cleanup":
		if t.died.IsZero() || v.at.Sub(t.died) > ociKillWorks || !v.at.After(t.tidied) {
			return // also one that log and stream both told
		}
		t.twice = !t.tidied.IsZero()
		t.tidied = v.at
	case "kill", "stop":
		if t.order == "stop" {
			return // the signals of a stop that is known already
		}
		t.order, t.signal, t.at = v.action, v.signal, v.at
	}
}

// purpose tells the order that explains this end of a life; harmless is true when the only one that was told does not.
func (t *ociTold) purpose(began, ended time.Time) (order string, harmless bool) {
	switch {
	case t == nil:
		return "", false
	case t.twice && t.died.After(began) && ended.Sub(t.died).Abs() < ociKillWorks:
		return "stop", false
	case t.order == "" || t.at.Before(began):
		return "", false // nothing was told, or of a former life
	}
	took := ended.Sub(t.at)
	switch {
	case t.order == "stop" && took.Abs() < ociStopWorks: // told when it is done, or is about to be
		return "stop", false
	case t.terminates() && took > -ociKillWorks && took < ociStopWorks:
		return "kill", false
	case took.Abs() < ociKillWorks:
		return "kill", false
	}
	return "", true
}

// terminates tells a signal that is meant to end a container: INT, QUIT, KILL, TERM. Podman does not tell which it was.
func (t *ociTold) terminates() bool {
	switch t.signal {
	case "2", "3", "9", "15":
		return true
	}
	return false
}

// purpose says who or what stopped it on purpose, "" when nobody did or it is not known. The caller holds mu.
func (o *oci) purpose(id string, e *ociEntry) string {
	in := e.in
	order, harmless := o.told[id].purpose(in.began(), in.ended())
	recorded, read := o.manually(in)
	switch {
	case read && !recorded:
		return "" // also of the signals that the daemon sends when it shuts down
	case recorded && harmless:
		return "" // it got a signal once, and lived on
	case recorded && order == "":
		return fmt.Sprintf("%s stop or kill, by its record HasBeenManuallyStopped", o.name)
	case bool(in.StoppedByUser):
		return fmt.Sprintf("%s stop, by its record StoppedByUser", o.name)
	case e.stopping:
		return fmt.Sprintf("%s stop, which was seen at it", o.name)
	case order != "" && (recorded || !beforeBoot(in.ended(), o.boot)):
		return fmt.Sprintf("%s %s, by its events", o.name, order)
	}
	return ""
}

// manually reads docker's record; ok is false where there is none to be read.
func (o *oci) manually(in ociInspect) (stopped, ok bool) {
	dir := in.folder()
	if !o.flag || dir == "" {
		return false, false
	}
	b, err := readBounded(o.file(filepath.Join(dir, "config.v2.json")), 1<<20)
	if err != nil {
		return false, false
	}
	var c struct {
		ID                     looseString
		HasBeenManuallyStopped *looseBool
	}
	if json.Unmarshal(b, &c) != nil || c.ID != in.ID || c.HasBeenManuallyStopped == nil {
		return false, false
	}
	return bool(*c.HasBeenManuallyStopped), true
}

// ociGap is the last time in which the engine was not there, or may not have been.
type ociGap struct {
	good     time.Time // of the last list that succeeded
	from, to time.Time
}

// lost notes that the engine did not answer.
func (o *oci) lost(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gap.from.IsZero() || !o.gap.to.IsZero() {
		o.gap.from, o.gap.to = o.gap.good, time.Time{}
		if o.gap.from.IsZero() {
			o.gap.from = now.Add(-ociShutdown)
		}
	}
}

// back notes that it answers.
func (o *oci) back() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gap.good = time.Now()
	if !o.gap.from.IsZero() && o.gap.to.IsZero() {
		o.gap.to = o.gap.good
	}
}

// endedWithHost tells whether what ended then did so because the host or the engine's daemon went down: exit code 0 was
// then no end of its own. The caller holds mu.
func (o *oci) endedWithHost(ended time.Time) bool {
	g := o.gap
	return beforeBoot(ended, o.boot) || !g.from.IsZero() && !ended.Before(g.from) && (g.to.IsZero() || !ended.After(g.to))
}

// beforeBoot tells whether a moment lies in the shutdown before this boot.
func beforeBoot(t, boot time.Time) bool {
	return !boot.IsZero() && t.Before(boot) && boot.Sub(t) < ociShutdown
}
