package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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
	// Through a service there is no cleanup, and what is below a user's folder only that user may write.
	o.service = hasOption(s.Args, "url")
	if !o.service {
		t.verbs[health.VerbRepair] = verb{limit: time.Minute, slack: 10 * time.Second, argv: o.cleanup, read: readOCIAnswer}
		for v, how := range t.verbs {
			how.before = o.unstick
			t.verbs[v] = how
		}
	}
	if !o.service && !hasOption(s.Args, "tmpdir") {
		o.exits = "/run/libpod/exits" // of root, unless it was told another --tmpdir; then any conmon tells
	}
	t.autostarter = "podman-restart.service"
	t.blind = append(o.podmanBlind(o.service), "Before podman 5, who stopped a container is known from its log of events only: not with events_logger=none.")
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
		name := ""
		if len(v.Names) > 0 {
			name = string(v.Names[0])
		}
		rest := []string{fmt.Sprint(v.Pid), string(v.StartedAt), string(v.ExitedAt), fmt.Sprint(v.Networks)}
		r, err := makeOCIRow(string(v.ID), name, string(v.State), string(v.Status), rest, n)
		if err != nil {
			return nil, err
		}
		r.age = 0
		rows = append(rows, r)
	}
	return rows, nil
}

// cleanup is podman's own cure for what a death left behind, where the conmon that runs it at each end was killed: mounts,
// network and address, and with unstick before it a "running" that is not true. Podman refuses it while the container runs.
func (o *oci) cleanup(c call) ([]string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.known[c.id]; e != nil && !alive(e.init) {
		e.ours = true // two cleanups after one end else mean a person's stop
	}
	return o.argv(o.name, "container", "cleanup", "--", c.id), nil
}

// unstick tells podman of an end that it has missed, because the container's conmon was killed (trap 12). Podman says
// "running" for ever then, and has no command of its own against it. Tried with 4.3.1, both processes gone and reaped:
// start does nothing, rc 0; "container cleanup", init, kill, pause and update are refused; "ps --sync" changes nothing;
// wait hangs; stop and restart leave it "stopping", from which only "rm --force" leads away, and the container's files
// with it; "system migrate" stops all others. What podman waits for is a file that conmon leaves, named after the
// container and holding its exit code. So that file is written in conmon's stead, once both processes are gone for sure;
// the command behind it finds an ordinary stopped container, also from "stopping". The code is that of a killed one: the
// true one nobody knows.
func (o *oci) unstick(_ context.Context, c call) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.known[c.id]
	if e == nil || !e.in.running() && e.in.Status != "stopping" || !e.in.orphaned() || o.exits == "" {
		return
	}
	dir := o.file(o.exits)
	temp := filepath.Join(dir, c.id+".atalaya")
	err := os.WriteFile(temp, []byte("137"), 0o600)
	if err == nil {
		err = os.Rename(temp, filepath.Join(dir, c.id))
	}
	if err != nil {
		o.notes.add("podman container %.12s: tell podman that it has ended: %v", c.id, err)
	}
}

// orphaned tells whether podman believes in a life of which neither init nor conmon is left.
func (in ociInspect) orphaned() bool {
	init, conmon := int(in.Pid), int(in.ConmonPid)
	return init > 0 && conmon > 0 && !alive(health.Process{PID: init}) && !alive(health.Process{PID: conmon})
}

// conmonExits gives where a conmon leaves exit codes: it was told on its command line.
func conmonExits(pid int) string {
	b, err := readBounded(fmt.Sprintf("/proc/%d/cmdline", pid), 64<<10)
	if err != nil {
		return ""
	}
	argv := strings.Split(string(b), "\x00")
	if filepath.Base(argv[0]) != "conmon" {
		return ""
	}
	for i, a := range argv[1:] {
		if a == "--exit-dir" && i+2 < len(argv) && filepath.IsAbs(argv[i+2]) {
			return filepath.Clean(argv[i+2])
		}
	}
	return ""
}

// podmanRootRE finds where containers-storage.conf(5) puts root's storage.
var podmanRootRE = regexp.MustCompile(`(?m)^\s*graphroot\s*=\s*"([^"]+)"`)

// discoverPodman finds root's storage where podman has one: to ask podman would make it.
func discoverPodman(ctx context.Context, r Runner) []Spec {
	if !podmanUsed(podmanRoot("/etc/containers/storage.conf")) {
		return nil
	}
	if t := r.Read(ctx, hostexec.Command{Argv: []string{"podman", "--version"}, Timeout: 5 * time.Second, MaxOut: 8 << 10}); !t.OK() {
		return nil
	}
	return []Spec{{Engine: "podman"}}
}

// podmanRoot is where root's storage is.
func podmanRoot(conf string) string {
	if b, err := readBounded(conf, 1<<20); err == nil {
		if m := podmanRootRE.FindSubmatch(b); m != nil {
			return string(m[1])
		}
	}
	return "/var/lib/containers/storage"
}

// podmanUsed tells whether podman keeps containers there: from version 5 on in SQLite, before in BoltDB.
func podmanUsed(root string) bool {
	for _, db := range []string{"db.sql", "libpod/bolt_state.db"} {
		if _, err := os.Stat(filepath.Join(root, db)); err == nil {
			return true
		}
	}
	return false
}
