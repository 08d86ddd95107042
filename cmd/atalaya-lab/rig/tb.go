package rig

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// TB is what a rig needs of a test. *testing.T and *testing.B are one, [Stage] is
// the other, so that package testing and its flags stay out of the lab's binary.
//
// Fatalf must not return, and as with package testing it may only be called from
// the goroutine that runs the test: call a rig's methods from that one.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
}

// skipper is the further thing [Require] needs, which only a real test has.
type skipper interface {
	TB
	Skipf(format string, args ...any)
}

// Require says which of the named things this machine lacks. Without them the test
// is skipped on a person's machine and fails under CI=true, where nothing may be
// left out. What can be named: "root", or any command that must be on the PATH,
// with "lxc" short for lxc-start, "busybox" for a static busybox, and "docker",
// "podman", "lxd", "libvirt" and "vm" for all that their rigs need.
func Require(t skipper, what ...string) {
	t.Helper()
	lacks := Lacking(what...)
	if len(lacks) == 0 {
		return
	}
	msg := "this test needs " + strings.Join(lacks, ", ") + "; packages: cmd/atalaya-lab/packages.sh test"
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s (under CI=true nothing is skipped)", msg)
	}
	t.Skipf("%s", msg)
}

// Lacking names what of the wanted things this machine does not have.
func Lacking(what ...string) (lacks []string) {
	for _, w := range what {
		switch w {
		case "root":
			if os.Geteuid() != 0 {
				lacks = append(lacks, "root")
			}
		case "lxc":
			lacks = append(lacks, lackingCommand("lxc-start", "lxc")...)
		case "lxd":
			lacks = append(lacks, lackingCommand("/usr/bin/lxd", "lxd")...)
			lacks = append(lacks, lackingCommand("mksquashfs", "squashfs-tools")...)
			lacks = append(lacks, lackingCommand("setfacl", "acl")...)
			lacks = append(lacks, lackingCommand("setfattr", "attr")...)
		case "docker":
			lacks = append(lacks, lackingCommand("/usr/sbin/dockerd", "docker.io")...)
			lacks = append(lacks, lackingCommand("/usr/bin/docker", "docker.io")...)
		case "podman":
			lacks = append(lacks, lackingCommand("/usr/bin/podman", "podman")...)
			lacks = append(lacks, lackingCommand("/usr/sbin/runc", "runc")...)
			lacks = append(lacks, lackingCommand("/usr/lib/podman/netavark", "netavark")...)
		case "libvirt":
			lacks = append(lacks, lackingCommand("virsh", "libvirt-clients")...)
			lacks = append(lacks, lackingCommand("/usr/sbin/libvirtd", "libvirt-daemon")...)
			lacks = append(lacks, lackingCommand("/usr/lib/libvirt/libvirt_lxc", "libvirt-daemon-driver-lxc")...)
		case "vm":
			lacks = append(lacks, lackingCommand("qemu-system-x86_64", "qemu-system-x86")...)
			if guestKernel() == "" {
				lacks = append(lacks, "Debian's cloud kernel in "+guestKernels)
			}
		case "busybox":
			lacks = append(lacks, lackingCommand("busybox", "busybox-static")...)
		default:
			lacks = append(lacks, lackingCommand(w, w)...)
		}
	}
	return lacks
}

func lackingCommand(command, pkg string) []string {
	if _, err := exec.LookPath(command); err != nil {
		return []string{"the command " + command + " (package " + pkg + ")"}
	}
	return nil
}

// Stage is a [TB] for programs: it prints, collects cleanups and turns Fatalf into
// the error that [Play] returns.
type Stage struct {
	out      io.Writer
	cleanups []func()
}

type failure struct{ err error }

// Play runs f on a stage and then the cleanups that f registered, the latest first,
// also when f failed or panicked. The error is that of Fatalf, or f's own.
func Play(out io.Writer, f func(s *Stage) error) (err error) {
	s := &Stage{out: out}
	defer func() {
		r := recover()
		s.clean()
		switch r := r.(type) {
		case nil:
		case failure:
			err = errors.Join(r.err, err)
		default:
			panic(r)
		}
	}()
	return f(s)
}

func (s *Stage) clean() {
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
}

// Helper does nothing: a stage reports no source lines.
func (s *Stage) Helper() {}

// Logf prints one line.
func (s *Stage) Logf(format string, args ...any) { _, _ = fmt.Fprintf(s.out, format+"\n", args...) }

// Fatalf ends the play with this error. Only the goroutine that runs the play may call it.
func (s *Stage) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// Cleanup has f run when the play is over.
func (s *Stage) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }
