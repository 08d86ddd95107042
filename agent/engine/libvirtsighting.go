package engine

import (
	"slices"
	"time"

	"atalaya/agent/health"
)

// What is told of one domain, made of what libvirt said and of what lives on the host.

// lie is how long libvirt may call running what has no process, or off what has one, before that is more than its ending.
const virtLie = 15 * time.Second

// sighting tells what is known of a domain now. thorough looks through all processes for the init of a container that is
// called off. ok is false when it was removed meanwhile.
func (l *libvirt) sighting(uuid string, thorough bool) (s health.Sighting, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.known[uuid]
	if d == nil {
		return s, false
	}
	s = health.Sighting{
		Ref: l.ref(d.name), Name: d.name, Mark: d.uuid, Autostart: health.No, Config: d.conf.mark, Supervisor: d.conf.supervisor, Elsewhere: d.conf.supervisor != "",
		Links: slices.Clone(d.conf.links), At: time.Now(),
	}
	if d.autostart {
		s.Autostart = health.Yes
	}
	switch {
	case d.transient && l.local && l.defined(d.name):
		defer func() {
			s.Detail = tidy(s.Detail + "; its definition could not be read by the daemon when that started: it cannot be started again")
		}()
	case d.transient:
		s.Autostart, s.Supervisor = health.Maybe, "whoever created this transient domain, which libvirt forgets when it ends"
		s.Elsewhere = true // what is forgotten cannot be started here
	}
	v, known := virtJudge(d.said.state, d.why())
	if !known && d.said.state != "" {
		l.notes.add("libvirt says %q (%q), which this version does not know", tidy(d.said.state), tidy(d.said.reason))
	}
	s.State, s.Detail = v.state, d.words(v.why)
	if d.why() == "I/O error" && d.disks != "" {
		s.Detail = tidy(s.Detail + " (" + d.disks + ")")
	}
	if v.lock != "" {
		s.Lock = &health.Lock{Operation: v.lock}
	}
	l.against(d, &s, thorough)
	if l.slow[uuid] != nil {
		s.State, s.Lock, s.Detail = health.Unknown, nil, l.slow[uuid].words()
		return s, true
	}
	switch s.State {
	case health.Running, health.Paused, health.Busy, health.Broken:
		s.Init, s.Addrs = d.init, slices.Clone(d.addrs)
		if s.Lock == nil && d.job.operation != "" {
			s.Lock = &health.Lock{Operation: d.job.operation, Since: d.job.since}
		}
		// Without a process it is only ending, or on another host, where lives are told apart by their ends.
		if d.own && (d.ownOver || d.init.PID != 0 && d.life() != d.ownLife) {
			d.own = false
		}
	case health.Stopped:
		l.ended(d, v, &s)
	}
	return s, true
}

// words are libvirt's own, and what they mean.
func (d *virtDomain) words(why string) string {
	if d.said.state == "" {
		return "libvirt did not answer about it"
	}
	text := d.said.state
	if why := d.why(); why != "" && why != "unknown" {
		text += " (" + why + ")"
	}
	return tidy(text + prefixed(": ", why))
}

// ended says of what is off whether somebody wanted that.
func (l *libvirt) ended(d *virtDomain, v virtVerdict, s *health.Sighting) {
	if d.saved && s.Lock == nil {
		s.Lock = &health.Lock{Operation: "managed save"}
	}
	if d.own {
		d.ownOver = true
		return
	}
	s.OnPurpose = v.purpose
	if d.why() == "shutdown" {
		s.OnPurpose, s.Detail = l.shutdown(d.ending, s.Detail)
	}
}
