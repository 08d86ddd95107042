package sentinel

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// Bounds of what is read of one command line. An engine's command is far shorter; what is cut is not looked at.
const (
	maxCmdline = 4096
	maxArgs    = 64
)

// Who reads /proc once and gives the live processes whose command line means something to a container, in the order of
// their pids: who is stopping, moving, snapshotting or removing one at this moment.
//
// The processes for which own says true (the caller's own commands; asked only of those that mean something) are left out;
// so are this process, kernel threads, zombies, and everything in another pid namespace than ours, because a container may
// call its processes what it likes. A process of another user of this host is reported with its uid: whether it may do what its command line
// says is the engine's affair.
//
// meaning is called with arguments of at most 4 KiB in all, cut at 64, and must not keep them. Cost: three system calls
// per process, 1 to 2 ms with 300 processes. Who never fails: what cannot be read is left out.
func Who(own func(pid int) bool, meaning func(argv []string) (verb health.Verb, ok bool)) []health.Actor {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	proc := int(dir.Fd())
	pids := numbers(names)
	var actors []health.Actor
	for i, argv := range cmdlines(proc, pids) {
		if argv == nil {
			continue
		}
		if _, ok := meaning(argv); !ok || own != nil && own(pids[i]) {
			continue
		}
		if a, ok := actor(proc, pids[i], meaning); ok {
			actors = append(actors, a)
		}
	}
	return actors
}

// numbers gives the pids among the names of /proc, less our own.
func numbers(names []string) []int {
	self := os.Getpid()
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid != self {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cmdlines reads the command lines of all pids, by two at once where there are two processors: somebody's restart waits for
// it.
func cmdlines(proc int, pids []int) [][]string {
	all := make([][]string, len(pids))
	half := len(pids)
	if runtime.GOMAXPROCS(0) > 1 {
		half /= 2
	}
	read := func(from, to int) {
		buf := make([]byte, maxCmdline)
		for i := from; i < to; i++ {
			all[i] = cmdline(proc, pids[i], buf)
		}
	}
	var other sync.WaitGroup
	other.Go(func() { read(half, len(pids)) })
	read(0, half)
	other.Wait()
	return all
}

// cmdline gives the command line of a process, nil for kernel threads and zombies, which have none.
func cmdline(proc, pid int, buf []byte) []string {
	fd, err := openRead(proc, strconv.Itoa(pid)+"/cmdline")
	if err != nil {
		return nil
	}
	n, err := readAgain(fd, buf)
	_ = unix.Close(fd)
	if err != nil || n <= 0 {
		return nil
	}
	return splitArgs(buf[:n])
}

// splitArgs takes a command line apart: each argument ends with a NUL. A process that rewrote its own may have left any
// number of them at the end.
func splitArgs(cmdline []byte) []string {
	cmdline = bytes.TrimRight(cmdline, "\x00")
	if len(cmdline) == 0 {
		return nil
	}
	args := strings.SplitN(string(cmdline), "\x00", maxArgs+1)
	return args[:min(len(args), maxArgs)]
}

// actor reads everything about one process whose command line meant something, its command line once more, and its start
// time before and after, so that the answer is about one process even if the pid changed hands meanwhile.
func actor(proc, pid int, meaning func([]string) (health.Verb, bool)) (health.Actor, bool) {
	before, err := readStat(pid)
	if err != nil || before.dead() || !here(pid) {
		return health.Actor{}, false
	}
	argv := cmdline(proc, pid, make([]byte, maxCmdline))
	verb, ok := meaning(argv)
	if !ok {
		return health.Actor{}, false
	}
	a := health.Actor{Argv: argv, Verb: verb, UID: realUID(pid), Login: loginUID(pid), Parents: parents(before.parent), Terminal: terminal(before.tty)}
	a.Process, err = identify(health.Process{PID: pid, Start: before.start})
	return a, err == nil
}

// maxParents bounds how far a chain of parents is followed.
const maxParents = 8

// parents names the parents of a process, the nearest first, without process 1. Names are chosen by their owners: what is no
// plain letter is replaced.
func parents(pid int) []string {
	var out []string
	for len(out) < maxParents && pid > 1 {
		s, err := readStat(pid)
		if err != nil {
			break
		}
		out = append(out, s.name)
		pid = s.parent
	}
	return out
}

// terminal names the controlling terminal by its device number (proc(5), field 7): those of ssh and of terminal windows, and
// the consoles.
func terminal(dev int) string {
	major, minor := dev>>8&0xfff, dev&0xff|dev>>12&0xfff00
	switch {
	case major >= 136 && major <= 143:
		return "pts/" + strconv.Itoa((major-136)<<8|minor)
	case major == 4 && minor < 64:
		return "tty" + strconv.Itoa(minor)
	case major == 4:
		return "ttyS" + strconv.Itoa(minor-64)
	}
	return ""
}

// here says whether a process is in our own pid namespace.
func here(pid int) bool {
	ours, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return false
	}
	theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	return err == nil && ours == theirs
}

// realUID gives the user a process was started by, -1 when it cannot be read.
func realUID(pid int) int {
	status, err := readSmall("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return -1
	}
	for line := range bytes.Lines(status) {
		if ids, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			if f := bytes.Fields(ids); len(f) > 0 {
				return number(f[0])
			}
		}
	}
	return -1
}

// loginUID gives the user who logged in, kept over su and sudo (loginuid of the audit system); -1 when there was no login.
func loginUID(pid int) int {
	id, err := readSmall("/proc/" + strconv.Itoa(pid) + "/loginuid")
	if err != nil {
		return -1
	}
	return number(bytes.TrimSpace(id))
}

// number reads a uid; (uid_t)-1 means that there is none.
func number(b []byte) int {
	n, err := strconv.ParseUint(string(b), 10, 32)
	if err != nil || n == 1<<32-1 {
		return -1
	}
	return int(n)
}
