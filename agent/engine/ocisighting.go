package engine

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"atalaya/agent/health"
)

// What the engine says about one container, held against what the kernel says.

const (
	// ociEnding is how long an engine may be behind the kernel: docker needs 40 ms, podman's conmon 80 ms (measured).
	ociEnding = 2 * time.Second
	// ociStuck is how long podman may be "stopping" what has ended.
	ociStuck = 30 * time.Second
	// ociPolicyActs is within what time a restart policy begins to act. Both do so at once; while docker waits, at most a
	// minute, the container is "restarting". What is down for longer is not going to be started by it.
	ociPolicyActs = 30 * time.Second
)

// sighting tells what is known now. The caller holds mu.
func (o *oci) sighting(id string, e *ociEntry, now time.Time) health.Sighting {
	in := e.in
	if e.bad != "" && (e.init.PID == 0 || !alive(e.init)) {
		return o.broken(id, e, now)
	}
	s := health.Sighting{
		Ref: o.ref(id), Name: strings.TrimPrefix(tidy(string(in.Name)), "/"), Mark: string(in.Created),
		State: in.state(), Detail: tidy(string(in.Status)), Init: e.init, Autostart: in.autostart(), Config: in.Config,
		Addrs: in.addrs(), Tags: in.tags(), At: now,
	}
	if s.Name == "" {
		s.Name = id[:12]
	}
	if s.State == health.Running {
		s.Health = in.Health
	}
	if in.Status == "removing" {
		s.Lock = &health.Lock{Operation: "remove"}
	}
	stale := o.hold(e, &s, now)
	if s.State == health.Stopped {
		o.past(id, e, &s, stale)
	}
	s.Supervisor = o.supervisor(e, s, stale, now)
	s.Elsewhere = ociElsewhere(e.in)
	return s
}

// maxTags bounds how many labels of a container are taken for its tags.
const maxTags = 64

// tags are the labels, "key=value" each, or the key alone where the value is empty; sorted. Whoever makes the container may
// set them.
func (in ociInspect) tags() []string {
	var out []string
	for _, k := range sortedKeys(in.Labels) {
		if len(out) == maxTags {
			break
		}
		tag := tidy(k)
		if v := tidy(in.Labels[k]); v != "" {
			tag += "=" + v
		}
		out = append(out, tag)
	}
	return out
}

// hold holds the engine's word against the kernel's. stale tells that the engine believes in a life that has ended and
// will not notice: podman, after its conmon was killed, says "running" for ever (trap 12).
func (o *oci) hold(e *ociEntry, s *health.Sighting, now time.Time) (stale bool) {
	in := e.in
	lives := e.init.PID != 0 && alive(e.init)
	stopping := in.Status == "stopping"
	if lives || !in.running() && !stopping || in.Pid == 0 {
		e.odd = time.Time{}
		return false
	}
	if e.odd.IsZero() {
		e.odd = now
	}
	s.Init, s.Addrs, s.Health = health.Process{}, nil, ""
	since := now.Sub(e.odd)
	switch {
	case stopping && since < ociStuck:
	case stopping && o.exits == "":
		s.State = health.Broken
		s.Detail = fmt.Sprintf("%s says stopping, but its process %d has ended and nobody will tell it: it can be neither started nor stopped, only removed and made anew (%s rm --force)", o.name, in.Pid, o.name)
	case since < ociEnding && !in.orphaned():
		s.State = health.Unknown
		s.Detail = fmt.Sprintf("%s says %s, but its process %d has ended: it is just ending", o.name, in.Status, in.Pid)
	default:
		s.State = health.Stopped
		s.Detail = fmt.Sprintf("%s says %s, but its process %d has ended and %s has not noticed", o.name, in.Status, in.Pid, o.name)
		return true
	}
	return false
}

// past tells how what is down came to be so.
func (o *oci) past(id string, e *ociEntry, s *health.Sighting, stale bool) {
	in := e.in
	switch in.Status {
	case "exited", "stopped":
		s.Detail = fmt.Sprintf("%s, exit code %d", in.Status, in.ExitCode)
		if in.OOMKilled {
			s.Detail += ", out of memory"
		}
	}
	if in.Error != "" {
		s.Detail += ": " + tidy(ociCauseRE.ReplaceAllString(string(in.Error), ""))
	}
	if in.began().IsZero() || in.Error != "" || e.ours || stale && !e.stopping {
		return // it never ran, or the last thing that was wanted was that it runs, or it was us, or nobody can tell
	}
	s.OnPurpose = o.purpose(id, e)
	if stale {
		return // its exit code is not known
	}
	again := in.Policy.Name == "always" || in.Policy.Name == "unless-stopped"
	s.Finished = s.OnPurpose == "" && in.ExitCode == 0 && !again && !o.endedWithHost(in.ended())
}

// autostart tells whether the engine starts it at boot. For on-failure it does, too, what ran when the host went down
// (moby's restart manager), whatever its reference says.
func (in ociInspect) autostart() health.Tri {
	if in.Policy.acts() {
		return health.Yes
	}
	return health.No
}

func (p ociPolicy) acts() bool {
	return p.Name == "always" || p.Name == "unless-stopped" || p.Name == "on-failure"
}

// supervisor names who else starts it. A restart policy looks after ends only: what runs and is sick is nobody's but
// ours. So it is named only while it may be going to act.
func (o *oci) supervisor(e *ociEntry, s health.Sighting, stale bool, now time.Time) string {
	in := e.in
	if owner := ociOwner(in); owner != "" {
		return owner
	}
	policy := fmt.Sprintf("%s restart policy %s", o.name, in.Policy.Name)
	switch {
	case !in.Policy.acts() || stale || e.ours:
		return ""
	case in.Status == "restarting":
		return policy
	case s.State != health.Stopped && s.State != health.Unknown || in.began().IsZero():
		return ""
	case in.Error != "":
		return "" // it could not be started again, and the engine gave up
	case in.Policy.Name == "on-failure" && (in.ExitCode == 0 || in.Policy.Max > 0 && int64(in.RestartCount) >= in.Policy.Max):
		return ""
	case s.State == health.Stopped && now.Sub(in.ended()) >= ociPolicyActs:
		return ""
	}
	return policy
}

// ociElsewhere tells owners that may run what they own on another host as well.
func ociElsewhere(in ociInspect) bool {
	for _, key := range []string{"io.kubernetes.pod.name", "com.docker.swarm.service.name", "com.docker.swarm.task.id", "com.hashicorp.nomad.alloc_id"} {
		if in.Labels[key] != "" {
			return true
		}
	}
	return false
}

// ociOwner reads from the labels who made a container and looks after it.
func ociOwner(in ociInspect) string {
	label := func(key string) string { return tidy(in.Labels[key]) }
	unit := label("PODMAN_SYSTEMD_UNIT")
	switch {
	case label("io.kubernetes.pod.name") != "":
		return fmt.Sprintf("Kubernetes, pod %s/%s", label("io.kubernetes.pod.namespace"), label("io.kubernetes.pod.name"))
	case label("com.docker.swarm.service.name") != "":
		return "Docker Swarm, service " + label("com.docker.swarm.service.name")
	case label("com.docker.swarm.task.id") != "":
		return "Docker Swarm, task " + label("com.docker.swarm.task.id")
	case label("com.hashicorp.nomad.alloc_id") != "":
		return "Nomad, allocation " + label("com.hashicorp.nomad.alloc_id")
	case unit != "" && !strings.HasPrefix(unit, "podman-compose@"): // podman-compose sets it on all, whether there is a unit or not
		return "systemd unit " + unit
	case bool(in.Infra):
		return "podman, which starts a pod's infra container with the pod's others"
	}
	return ""
}

// folder is that of the container on the host, where the engine keeps its records; empty where it was not told.
func (in ociInspect) folder() string {
	if dir := filepath.Dir(string(in.Dir)); filepath.IsAbs(dir) && strings.Contains(dir, string(in.ID)) {
		return dir
	}
	return ""
}
