package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// Podman without a daemon, root's storage, as measured with 4.3.1 of Debian 12. What it shares with docker is in oci*.go.

func newPodman(s Spec, r Runner) (*oci, error) {
	return newOCI(s, r, ociDialect{
		name:    "podman",
		ps:      []string{"ps", "--all", "--no-trunc", "--format=json"},
		inspect: podmanInspect,
		events:  []string{"events", "--format=json", "--filter=type=container"},
		rows:    parsePodmanRows,
		event:   parsePodmanEvent,
		gone:    regexp.MustCompile(`[Nn]o such (?:container|object):? "?([0-9a-f]{64})`),
	})
}

func openPodman(s Spec, r Runner) (*tool, error) {
	o, err := newPodman(s, r)
	if err != nil {
		return nil, err
	}
	t := o.tool()
	start := t.verbs[health.VerbStart]
	start.before = o.unstick
	t.verbs[health.VerbStart] = start
	t.autostarter = "podman-restart.service"
	t.blind = []string{
		"Containers of other users than root (rootless) are not seen.",
		"Before podman 5, who stopped a container is known from its log of events only: not with events_logger=none.",
		"A container whose conmon was killed runs on, but podman does not notice its end: the agent does, by the process.",
	}
	return t, nil
}

// parsePodmanRows reads one array. Its moments are told in seconds, besides in words.
func parsePodmanRows(b []byte, n *notes) ([]ociRow, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '[' {
		return nil, fmt.Errorf("%.60q is no list of containers", b)
	}
	var all []struct {
		ID        looseString `json:"Id"`
		Names     []looseString
		State     looseString
		Status    looseString
		Pid       looseInt
		StartedAt looseString
		ExitedAt  looseString
		Networks  []looseString
	}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	rows := make([]ociRow, 0, len(all))
	for _, v := range all {
		rest := []string{fmt.Sprint(v.Names), fmt.Sprint(v.Pid), string(v.StartedAt), string(v.ExitedAt), fmt.Sprint(v.Networks)}
		r, err := makeOCIRow(string(v.ID), string(v.State), string(v.Status), rest, n)
		if err != nil {
			return nil, err
		}
		r.age = 0
		rows = append(rows, r)
	}
	return rows, nil
}

// unstick has podman see that a container has ended whose conmon was killed (trap 12). A start of it does nothing, rc 0;
// kill and cleanup are refused. A stop waits 5 s for conmon's word, fails with 125, and leaves it "stopped", which a
// start takes. But a stop while conmon's process is there, were it as a zombie, leaves it "stopping" for ever, which
// nothing undoes: so that is awaited first.
func (o *oci) unstick(ctx context.Context, c call) {
	o.mu.Lock()
	var in ociInspect
	if e := o.known[c.id]; e != nil {
		in = e.in
	}
	o.mu.Unlock()
	init, conmon := int(in.Pid), int(in.ConmonPid)
	if !in.running() || init == 0 || conmon == 0 || alive(health.Process{PID: init}) || alive(health.Process{PID: conmon}) {
		return
	}
	for end := time.Now().Add(10 * time.Second); exists(conmon) && time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(20 * time.Millisecond)
	}
	if exists(conmon) {
		o.notes.add("podman container %.12s: the dead conmon %d is not reaped: left alone", c.id, conmon)
		return
	}
	o.remember(c.id)
	op := hostexec.Op{ID: "unstick-" + c.id[:12], Container: o.ref(c.id).String(), Verb: string(health.VerbStop)}
	o.run.Change(ctx, op, hostexec.Command{Argv: o.argv(o.name, "stop", "-t", "1", "--", c.id), Env: o.spec.Env, Timeout: 30 * time.Second})
}

// exists tells whether there is such a process, be it a zombie.
func exists(pid int) bool {
	_, ok := readStat(pid)
	return ok
}

// podmanRootRE finds where containers-storage.conf(5) puts root's storage.
var podmanRootRE = regexp.MustCompile(`(?m)^\s*graphroot\s*=\s*"([^"]+)"`)

// discoverPodman finds root's storage where podman has one: to ask podman would make it.
func discoverPodman(ctx context.Context, r Runner) []Spec {
	root := "/var/lib/containers/storage"
	if b, err := readBounded("/etc/containers/storage.conf", 1<<20); err == nil {
		if m := podmanRootRE.FindSubmatch(b); m != nil {
			root = string(m[1])
		}
	}
	for _, db := range []string{"db.sql", "libpod/bolt_state.db"} {
		if _, err := os.Stat(filepath.Join(root, db)); err != nil {
			continue
		}
		if t := r.Read(ctx, hostexec.Command{Argv: []string{"podman", "--version"}, Timeout: 5 * time.Second, MaxOut: 8 << 10}); t.OK() {
			return []Spec{{Engine: "podman"}}
		}
	}
	return nil
}
