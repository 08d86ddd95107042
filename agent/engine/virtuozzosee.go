package engine

import (
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// vz7Files is what the host's files say about all containers, read once for a list.
type vz7Files struct {
	global   map[string]string            // vz.conf
	counters map[string]map[string]uint64 // beancounters, by EnvID
}

func (v *virtuozzo) files() vz7Files {
	return vz7Files{global: v.global(), counters: v.beancounters()}
}

// sighting puts together what the tool and the host's files tell.
func (v *virtuozzo) sighting(r prlRow, files vz7Files, read func(string) (health.RunState, string, bool)) health.Sighting {
	id := r.id()
	if r.silent != "" {
		return v.unheard(id, string(r.Name), r.silent)
	}
	s := health.Sighting{Ref: v.ref(id), Name: tidy(string(r.Name)), Mark: id, At: time.Now()}
	if s.Name == "" || s.Name == "-" {
		s.Name = id
	}
	var known bool
	if s.State, s.Detail, known = read(string(r.Status)); !known {
		v.notes.add("container %s: %s", s.Name, s.Detail)
	}
	if s.State == health.Running {
		s.Addrs = vzAddrs(r.IP)
	}
	s.Supervisor = v.supervisor(r, s.State, files.global)
	s.Elsewhere = s.Supervisor != "" // either may have it on another node by now
	if r.Type == "VM" || v.far() {
		v.known.Lock()
		s.Autostart = v.known.auto[id]
		v.known.Unlock()
		return s
	}
	env := r.env()
	c := v.conf(env)
	s.Autostart, s.Config, s.Links, s.Lock = vzTri(c.keys["ONBOOT"]), c.mark, vzLinks(c.keys), v.lock(env, id, files.global)
	v.live(&s, env, id, c, files)
	return s
}

// live fills in how a container lives, or came not to.
func (v *virtuozzo) live(s *health.Sighting, env, id string, c vzConf, files vz7Files) {
	switch s.State {
	case health.Running:
		v.runs(s, env, files.counters[env])
		v.known.Lock()
		v.known.downs[id] = vz7Down{ran: s.At}
		v.known.Unlock()
	case health.Stopped:
		v.truthful(env)
		s.OnPurpose = v.whyDown(env, id, files.global)
		if stop := v.stops(files.global)[env]; stop.fserror != "" {
			s.State, s.OnPurpose = health.Broken, ""
			s.Detail = "its file system reported an error, so it was stopped: " + stop.fserror + ": look at the disk before it is started"
		}
		if vzTri(c.keys["DISABLED"]) == health.Yes {
			s.Autostart, s.OnPurpose = health.No, "its start is disabled (DISABLED=yes)"
		}
	}
}

// whyDown says who stopped a container. Its mark .running is made after a start that succeeded, and removed before a stop
// that was asked for (OpenVZ/libvzctl lib/env.c; FACTS §2). It is judged once, at the first sight of it being down, and only
// where it was seen running before: the vendor's ve-stop runs "vzctl stop --force" on what has died, which clears the mark.
func (v *virtuozzo) whyDown(env, id string, global map[string]string) string {
	v.known.Lock()
	d := v.known.downs[id]
	v.known.Unlock()
	if d.judged {
		return d.reason
	}
	logged := v.purpose(env, id, global)
	area := v.area(env, global)
	switch {
	case area.running || area.mark == "" || area.mod.Before(bootTime()) || v.endedByUs(id, d.ran):
	case logged != "":
		d.reason = logged
	case !d.ran.IsZero():
		d.reason = "its mark .running is gone, as it is before a stop that was asked for"
	}
	d.judged = true
	v.known.Lock()
	v.known.downs[id] = d
	v.known.Unlock()
	return d.reason
}

// supervisor names who else starts it: the vendor's HA, or the node of the cluster that owns it.
func (v *virtuozzo) supervisor(r prlRow, state health.RunState, global map[string]string) string {
	v.known.Lock()
	if state == health.Running {
		delete(v.known.foreign, r.id())
	}
	foreign := v.known.foreign[r.id()]
	v.known.Unlock()
	path := v.vmDir(r.id())
	if r.Type != "VM" {
		path = v.private(r.env(), global)
	}
	switch {
	case foreign:
		return vzForeign
	case bool(r.HA) && v.hasShaman() && v.shared(path):
		return "Virtuozzo HA (shaman)"
	}
	return ""
}

// hasShaman and shared say when HA counts: ha_enable is on by default, and means something only where shaman is installed
// and the container lies on shared storage (OpenVZ/libvzctl lib/ha.c, OpenVZ/prl-disp-service CDspHaClusterHelper.cpp
// addClusterResource).
func (v *virtuozzo) hasShaman() bool {
	return unix.Access(v.file("/usr/sbin/shaman"), unix.F_OK) == nil
}

// shared tells whether a host path lies on storage that other nodes share, from /proc/mounts.
func (v *virtuozzo) shared(path string) bool {
	b, err := readProc(v.file("/proc/mounts"))
	if err != nil {
		return true // not known: hands off
	}
	path = "/" + strings.TrimPrefix(strings.TrimPrefix(path, filepath.Clean("/"+v.spec.Root)), "/")
	return sharedMount(b, path)
}

// sharedMount finds the mount that holds a path and tells whether its file system is one that nodes share.
func sharedMount(mounts []byte, path string) bool {
	best, kind := "", ""
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		at := strings.TrimSuffix(f[1], "/")
		if (path == f[1] || strings.HasPrefix(path, at+"/")) && len(f[1]) >= len(best) {
			best, kind = f[1], f[2]
		}
	}
	return strings.HasPrefix(kind, "fuse") || strings.HasPrefix(kind, "nfs") || strings.HasPrefix(kind, "gfs") || kind == "ocfs2"
}
