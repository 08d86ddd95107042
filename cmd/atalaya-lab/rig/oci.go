package rig

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// OCI is one installation of docker or podman of its own, see [NewDocker] and [NewPodman]: storage, bridge and an image
// made from busybox whose containers serve "ok" on port 80. Its methods end the test on failure; call them from the
// test's own goroutine.
type OCI struct {
	t TB
	*ociInstallation
}

// ociInstallation is what views of one rig share; see [OCI.With].
type ociInstallation struct {
	engine  string // "docker", "podman"
	client  string // absolute: another docker may stand before it in PATH
	slot    *slot
	args    []string // of every command
	env     []string
	create  []string    // options of every container
	network []string    // and of those that have a network
	daemon  *daemon     // docker's
	holder  *os.Process // of a lock, by [OCI.HoldLock]; podman's
}

// ociInit ends at SIGTERM, as a well-made service does, and survives SIGHUP.
const ociInit = `#!/bin/sh
trap 'exit 0' TERM
trap 'echo reloaded' HUP
httpd -p 80 -h /www
while :; do sleep 1000 & wait $!; done
`

const ociImage = "localhost/bb:1"

// newOCI takes a slot and makes what both engines need: the folder, the bridge and the image's content as a tar.
func newOCI(t TB, engine string) *OCI {
	t.Helper()
	if _, err := Sweep(); err != nil {
		t.Logf("rig: sweep leftovers: %v", err)
	}
	s, err := takeSlot()
	if err != nil {
		t.Fatalf("rig: %v", err)
	}
	o := &OCI{t: t, ociInstallation: &ociInstallation{engine: engine, client: "/usr/bin/" + engine, slot: s}}
	t.Cleanup(o.clean)
	o.must(makeBridge(o.Bridge(), netip.PrefixFrom(s.addr(1), 24)))
	root := filepath.Join(s.dir, "rootfs")
	o.must(makeRootfs(root))
	o.must(os.WriteFile(filepath.Join(root, "init"), []byte(ociInit), 0o755))
	_, err = run(quick, "tar", "-C", root, "-cf", o.tar(), ".")
	o.must(err)
	return o
}

func (o *OCI) tar() string { return filepath.Join(o.slot.dir, "image.tar") }

func (o *OCI) load() {
	o.t.Helper()
	o.Run("import", "--change", `CMD ["/init"]`, o.tar(), ociImage)
}

func (o *OCI) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatalf("rig: %v", err)
	}
}

func (o *OCI) clean() {
	if err := sweepFolder(o.slot.dir); err != nil {
		o.t.Logf("rig: clean up: %v", err)
	}
	if o.daemon != nil {
		<-o.daemon.ended
	}
	for _, name := range o.slot.bridges() {
		if err := deleteBridge(name); err != nil {
			o.t.Logf("rig: clean up: %v", err)
		}
	}
	o.slot.release()
}

// With is the same rig, ending another test on failure: a subtest's.
func (o *OCI) With(t TB) *OCI { return &OCI{t: t, ociInstallation: o.ociInstallation} }

// Args are what every command of this installation has, and Env its environment.
func (o *OCI) Args() []string { return slices.Clone(o.args) }

// Env is the environment of every command of this installation.
func (o *OCI) Env() []string { return slices.Clone(o.env) }

// Bin is the folder of the client.
func (o *OCI) Bin() string { return filepath.Dir(o.client) }

// Bridge is the name of the rig's own bridge.
func (o *OCI) Bridge() string { return o.slot.bridge() }

// Scratch is a folder that goes with the rig.
func (o *OCI) Scratch() string { return o.slot.dir }

// Run runs a command of the engine's client, as a person does, and gives what it printed.
func (o *OCI) Run(argv ...string) string {
	o.t.Helper()
	out, err := o.Try(argv...)
	o.must(err)
	return strings.TrimSpace(out)
}

// Try is Run for what may fail.
func (o *OCI) Try(argv ...string) (string, error) {
	line := append(append([]string{"env"}, o.env...), o.client)
	return run(time.Minute, append(append(line, o.args...), argv...)...)
}

// Make defines a container, which does not run, with options of "create".
func (o *OCI) Make(name string, options ...string) { o.MakeCommand(name, nil, options...) }

// MakeCommand defines a container that runs another command than the image's.
func (o *OCI) MakeCommand(name string, command []string, options ...string) {
	o.t.Helper()
	o.makeOn(o.network, name, command, options...)
}

// MakeAlone defines a container without a network.
func (o *OCI) MakeAlone(name string) { o.t.Helper(); o.MakeOn("none", name) }

// MakeOn defines a container on another network.
func (o *OCI) MakeOn(network, name string) {
	o.t.Helper()
	o.makeOn([]string{"--network=" + network}, name, nil)
}

func (o *OCI) makeOn(network []string, name string, command []string, options ...string) {
	o.t.Helper()
	argv := append(append(append([]string{"create", "--name", name}, o.create...), network...), options...)
	o.Run(append(append(argv, ociImage), command...)...)
}

// Start starts it and returns when it runs.
func (o *OCI) Start(name string) { o.t.Helper(); o.Run("start", name) }

// Remove removes it, running or not.
func (o *OCI) Remove(name string) { o.t.Helper(); o.Run("rm", "--force", name) }

// RemoveAll removes all containers at once, running or not.
func (o *OCI) RemoveAll() {
	o.t.Helper()
	ids := strings.Fields(o.Run("ps", "--all", "--quiet"))
	if len(ids) == 0 {
		return
	}
	argv := []string{"rm", "--force"}
	if o.engine == "podman" {
		argv = append(argv, "--time=0")
	}
	o.Run(append(argv, ids...)...)
}

// Freeze pauses every process of the container.
func (o *OCI) Freeze(name string) { o.t.Helper(); o.Run("pause", name) }

// Thaw ends [OCI.Freeze].
func (o *OCI) Thaw(name string) { o.t.Helper(); o.Run("unpause", name) }

// ID is the container's whole id; it is told also of one that was removed.
func (o *OCI) ID(name string) string {
	o.t.Helper()
	return o.Run("inspect", "--format", "{{.Id}}", name)
}

// InitPID is the pid of its init on the host; the test ends if it does not run.
func (o *OCI) InitPID(name string) int {
	o.t.Helper()
	out := o.Run("inspect", "--format", "{{.State.Pid}}", name)
	pid, err := strconv.Atoi(out)
	if err != nil || pid <= 1 {
		o.t.Fatalf("rig: container %q has no init (it does not run): inspect said %q", name, out)
	}
	return pid
}

// Kill9 kills its init and tells the pid.
func (o *OCI) Kill9(name string) int {
	o.t.Helper()
	pid := o.InitPID(name)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		o.t.Fatalf("rig: kill init %d of %q: %v", pid, name, err)
	}
	return pid
}

// Addr is the container's address now.
func (o *OCI) Addr(name string) string {
	o.t.Helper()
	return o.Run("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
}

// State is the engine's own word.
func (o *OCI) State(name string) string {
	o.t.Helper()
	return o.Run("inspect", "--format", "{{.State.Status}}", name)
}

// WaitState waits until the engine says so, and ends the test if it does not in time.
func (o *OCI) WaitState(name, state string, within time.Duration) {
	o.t.Helper()
	var last string
	if !poll(within, func() bool { last = o.State(name); return last == state }) {
		o.t.Fatalf("rig: container %q is %s, not %s, after %s", name, last, state, within)
	}
}

// ociCgroup is the cgroup below which the containers of the rig with this folder run.
func ociCgroup(dir string) string { return filepath.Base(dir) }

// endOCI ends docker's or podman's containers and processes of a rig's folder.
func endOCI(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "podman")); err == nil {
		// Podman itself knows its network namespaces and addresses. What it does not manage is done below.
		p := podmanAt(dir)
		line := append(append([]string{"env"}, p.env...), p.client)
		_, _ = run(quick, append(append(line, p.args...), "rm", "--all", "--force", "--time", "0")...)
	}
	gone := poll(20*time.Second, func() bool {
		left := false
		for _, p := range processes() {
			if p.oci(dir) {
				left = true
				_ = syscall.Kill(p.pid, syscall.SIGCONT)
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
		return !endCgroup(ociCgroup(dir)) && !left
	})
	if !gone {
		return fmt.Errorf("end the containers below %q: some process survives SIGKILL", dir)
	}
	return endNamespaces(dir)
}

// endNamespaces unmounts the network namespaces that podman keeps outside of its own folders and may have lost track of:
// they are ours when they hold an address of the slot's subnet.
func endNamespaces(dir string) error {
	n, ok := slotOf(dir)
	if !ok {
		return nil
	}
	subnet := strings.TrimSuffix((&slot{n: n}).addr(0).String(), "0")
	left, _ := filepath.Glob("/run/netns/netns-*")
	for _, path := range left {
		out, err := run(quick, "nsenter", "--net="+path, "ip", "-oneline", "address")
		if err != nil || !strings.Contains(out, " "+subnet) {
			continue
		}
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount the network namespace %q: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove the network namespace %q: %w", path, err)
		}
	}
	return nil
}

// oci tells whether this is a daemon, client, shim or monitor that was told a file of the rig's folder.
func (p process) oci(dir string) bool {
	if len(p.argv) == 0 || p.pid == os.Getpid() {
		return false
	}
	switch name := filepath.Base(p.argv[0]); {
	case name == "dockerd", name == "docker", name == "containerd", strings.HasPrefix(name, "containerd-shim"), name == "podman", name == "conmon", name == "runc", name == "netavark":
	default:
		return false
	}
	return slices.ContainsFunc(p.argv[1:], func(a string) bool { return strings.Contains(a, dir+"/") })
}

// endCgroup kills what is in the cgroup of this name and below, in every hierarchy, and removes it; true while there is something.
func endCgroup(name string) (left bool) {
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if _, err := os.Stat("/sys/fs/cgroup/" + name); err == nil {
		roots = append(roots, "/sys/fs/cgroup/"+name)
	}
	for _, root := range roots {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs) // the innermost first
		for _, d := range dirs {
			text, _ := os.ReadFile(filepath.Join(d, "cgroup.procs"))
			writeExisting(filepath.Join(d, "freezer.state"), "THAWED")
			writeExisting(filepath.Join(d, "cgroup.freeze"), "0")
			for pid := range strings.FieldsSeq(string(text)) {
				if n, err := strconv.Atoi(pid); err == nil && n > 1 {
					_ = syscall.Kill(n, syscall.SIGKILL)
				}
			}
			if err := os.Remove(d); err != nil && !os.IsNotExist(err) {
				left = true
			}
		}
	}
	return left
}

// Fail ends the test with this error.
func (o *OCI) Fail(err error) { o.t.Helper(); o.must(err) }

// KillHolder kills the command that holds the lock, and has what it started go on. Podman only.
func (o *OCI) KillHolder() { o.t.Helper(); o.must(o.holder.Kill()) }

// HoldLock has some operation of the engine hold the container's lock, so that whoever asks about it waits, until the
// returned function is called: a docker kill that waits for its stopped shim, a podman command that is stopped while it
// has the lock.
func (o *OCI) HoldLock(name string) (release func()) {
	o.t.Helper()
	if o.engine == "docker" {
		return o.holdByShim(name)
	}
	return o.holdByHook(name)
}
