package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// What this host itself tells about a domain: its processes, and the log that qemu writes. None of it starts a process.

// host finds the process of a domain that is not off. The caller holds mu.
func (l *libvirt) host(d *virtDomain) {
	if !l.local {
		d.init = health.Process{}
		return
	}
	switch {
	case d.said.state == "shut off" || d.said.state == "":
		if d.init.PID != 0 && !alive(d.init) {
			d.init = health.Process{}
		}
	case l.driver == "qemu":
		d.init = l.vm(d.name, d.uuid)
	case l.driver == "lxc":
		d.init = virtInit(l.controller(d))
	}
}

// vm finds the process of a VM by its pid file, and by the UUID in its command line, so that a number that is now another's
// is not mistaken.
func (l *libvirt) vm(name, uuid string) health.Process {
	b, err := readBounded(l.file("/run/libvirt/qemu/"+name+".pid"), 64)
	if err != nil {
		return health.Process{}
	}
	p, ok := identify(virtNumber(b))
	if !ok || !slices.Contains(cmdline(p.PID), uuid) {
		return health.Process{}
	}
	return p
}

// controller is the pid of the libvirt_lxc that holds a container: libvirt's id of a running domain.
func (l *libvirt) controller(d *virtDomain) int {
	if n, err := strconv.Atoi(d.said.domid); err == nil {
		return n
	}
	b, err := readBounded(l.file("/run/libvirt/lxc/"+d.name+".pid"), 64)
	if err != nil {
		return 0
	}
	return virtNumber(b)
}

// holder is the process by which libvirt holds a domain that runs: that of a VM, the controller of a container. The caller
// holds mu.
func (d *virtDomain) holder(l *libvirt) int {
	if l.driver == "lxc" && l.local && d.said.state != "shut off" {
		return l.controller(d)
	}
	return d.init.PID
}

// stoppedProcess says that a process is stopped, and what to do; empty when it is not.
func stoppedProcess(pid int) string {
	if s, ok := readStat(pid); pid != 0 && ok && (s.state == 'T' || s.state == 't') {
		return fmt.Sprintf("process %d, is stopped: continue it with kill -CONT %d", pid, pid)
	}
	return ""
}

// virtInit is the init below a controller.
func virtInit(controller int) health.Process {
	argv := cmdline(controller)
	if controller == 0 || len(argv) == 0 || !strings.HasSuffix(argv[0], "libvirt_lxc") {
		return health.Process{}
	}
	for _, child := range children(controller) {
		if isInit(child) {
			if p, ok := identify(child); ok {
				return p
			}
		}
	}
	return health.Process{}
}

// against holds what libvirt says against what lives. The daemon needs 0.2 s for the end of a container and up to 1.8 s for
// that of a VM. A controller that is killed while the daemon is away leaves its container's init running; the daemon then calls
// the container off and would start a second one upon the same files (measured with 9.0). The caller holds mu.
func (l *libvirt) against(d *virtDomain, s *health.Sighting, thorough bool) {
	off := s.State == health.Stopped
	if thorough && off && l.local && l.driver == "lxc" && d.init.PID == 0 {
		d.init = virtOrphan(d.uuid)
	}
	lives := d.init.PID != 0 && alive(d.init)
	switch {
	case !l.local || s.State == health.Unknown:
		return
	case off && lives:
		l.differ(d, s, fmt.Sprintf("but process %d of it still runs: end that one first, with kill -9 %d", d.init.PID, d.init.PID))
	case s.State == health.Running && !lives && (l.driver == "lxc" || l.driver == "qemu" && l.pidFiles()):
		l.differ(d, s, "but it has no process")
	default:
		d.lied = time.Time{}
		if !lives {
			d.init = health.Process{}
		}
		if words := stoppedProcess(d.holder(l)); words != "" && s.State == health.Running {
			s.Detail = tidy(s.Detail + ", but its " + words)
		}
	}
}

// pidFiles tells whether pid files are kept where they are looked for.
func (l *libvirt) pidFiles() bool {
	_, err := os.Stat(l.file("/run/libvirt/qemu/driver.pid"))
	return err == nil
}

// differ makes an answer unknown while it may be an ending, and broken when it lasts.
func (l *libvirt) differ(d *virtDomain, s *health.Sighting, how string) {
	if d.lied.IsZero() {
		d.lied = time.Now()
	}
	s.State, s.Lock = health.Unknown, nil
	s.Detail = fmt.Sprintf("libvirt says %s, %s", d.words(""), how)
	if time.Since(d.lied) > virtLie {
		s.State = health.Broken
	}
}

// virtOrphan finds the init of a container by the environment that libvirt gives it. It looks at every process.
func virtOrphan(uuid string) health.Process {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	want := []byte("LIBVIRT_LXC_UUID=" + uuid)
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || !isInit(pid) {
			continue
		}
		env, err := readBounded(dir+"/environ", 64<<10)
		if err == nil && slices.ContainsFunc(bytes.Split(env, []byte{0}), func(e []byte) bool { return bytes.EqualFold(e, want) }) {
			if p, ok := identify(pid); ok {
				return p
			}
		}
	}
	return health.Process{}
}

// virtInitKind tells by what an init in a container understands the wish to end.
func virtInitKind(pid int) string {
	if pid == 0 {
		return ""
	}
	root, err := os.OpenRoot(fmt.Sprintf("/proc/%d/root", pid))
	if err != nil {
		return ""
	}
	defer root.Close()
	initctl := ""
	if _, err := root.Lstat("dev/initctl"); !errors.Is(err, fs.ErrNotExist) {
		initctl = "/dev/initctl"
	}
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return parseVirtInitKind(fmt.Sprintf("%s\n%s\n%s\n", exe, comm, initctl))
}

// askInitKind asks for virtInitKind of a container on another host, by a shell inside; where there is none, its init is none
// of those.
func (l *libvirt) askInitKind(domain string) string {
	argv := append(l.virsh("lxc-enter-namespace", "--noseclabel", domain, "--"), "/bin/sh", "-c", "readlink /proc/1/exe; cat /proc/1/comm; ls -d /dev/initctl")
	t := l.run.Read(context.Background(), hostexec.Command{Argv: argv, Env: l.spec.Env, Timeout: virtAskWithin, MaxOut: 4 << 10})
	return parseVirtInitKind(string(t.Stdout))
}

// parseVirtInitKind reads the executable and the name of an init, and its initctl, each on a line.
func parseVirtInitKind(said string) string {
	lines := append(nonEmptyLines(said), "", "", "")
	switch exe, comm := filepath.Base(lines[0]), strings.TrimSpace(lines[1]); {
	case slices.Contains(lines[2:], "/dev/initctl"):
		return "initctl"
	case exe == "systemd":
		return "systemd"
	case exe == "busybox" && comm == "init":
		return "busybox"
	}
	return ""
}

// fileMark changes when the definition on disk does.
func (l *libvirt) fileMark(name string) string {
	if !l.local {
		return ""
	}
	return lxcConfMark([]string{l.definition(name)})
}

// virtLogTail is how much of a log's end is read for its last words, in bytes.
const virtLogTail = 16 << 10

var (
	// What libvirt writes when it has ended a VM: "2026-11-25 10:03:00.860+0000: shutting down, reason=shutdown".
	virtEndRE = regexp.MustCompile(`^([0-9-]+ [0-9:.]+[+-][0-9]{4}): shutting down, reason=([a-z ]+)$`)
	// What qemu writes when it is ended: "terminating on signal 15 from pid 24901 (libvirtd)".
	virtSignalRE = regexp.MustCompile(`qemu-[^:]*: terminating on signal [0-9]+ from pid ([0-9]+) \(([^)]*)\)$`)
)

// A virtEnding is how the last life of a VM ended, by its log.
type virtEnding struct {
	reason  string // libvirt's word
	at      time.Time
	by, pid string // who ended its process; empty when the log does not tell
}

// parseVirtLog reads the end of the log that libvirt and qemu write about a VM.
func parseVirtLog(log []byte) (e virtEnding) {
	for line := range strings.Lines(string(log)) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, ": starting up") {
			e = virtEnding{}
		}
		if m := virtSignalRE.FindStringSubmatch(line); m != nil {
			e.pid, e.by = m[1], tidy(filepath.Base(m[2]))
		}
		if m := virtEndRE.FindStringSubmatch(line); m != nil {
			e.reason = m[2]
			e.at, _ = time.Parse("2006-01-02 15:04:05.000-0700", m[1])
		}
	}
	return e
}

// lastWords reads how a VM that is off ended. Its log is what remains when the daemon has restarted and forgotten the
// reason; what it says of an earlier boot of the host is the host's own ending, and counts for nothing.
func (l *libvirt) lastWords(d *virtDomain) virtEnding {
	if !l.local || l.driver != "qemu" || d.said.state != "shut off" {
		return virtEnding{}
	}
	log, err := readTail(l.file("/var/log/libvirt/qemu/"+d.name+".log"), virtLogTail)
	if err != nil {
		return virtEnding{}
	}
	e := parseVirtLog(log)
	if e.at.Before(bootTime()) {
		return virtEnding{}
	}
	return e
}

// why is libvirt's reason, or that of the log where libvirt has forgotten it.
func (d *virtDomain) why() string {
	if d.said.reason == "unknown" && d.said.state == "shut off" && d.ending.reason != "" {
		return d.ending.reason
	}
	return d.said.reason
}

// shutdown tells what is behind the reason "shutdown". libvirt runs qemu so that a guest's poweroff leaves the process to
// be ended by the daemon; whoever else ended it did not ask the guest.
func (l *libvirt) shutdown(e virtEnding, detail string) (purpose, words string) {
	switch {
	case l.driver == "lxc":
		return "", tidy(detail + ": its init ended, by itself or killed, libvirt does not tell which")
	case e.by == "":
		return "", tidy(detail + ": by its guest, or killed, libvirt does not tell which")
	case strings.Contains(e.by, "libvirtd") || strings.Contains(e.by, "virtqemud"):
		return "its guest powered off, by itself or asked to", detail
	default:
		return "", tidy(fmt.Sprintf("%s: its process was ended from outside, by process %s (%s)", detail, e.pid, e.by))
	}
}
