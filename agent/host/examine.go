package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v3/disk"
	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// A Patient is what Examine looks at.
type Patient struct {
	StateDir string // the folder of the database
	Agent    int    // pid of the running agent; 0: none runs
}

// Examine says how fit this host is for an agent: who may do what, room on disk, clock, kernel settings, and where the
// running agent lives. It changes nothing, starts no process, and takes milliseconds.
func Examine(ctx context.Context, p Patient) []health.Finding {
	all := []health.Finding{judgeUser(os.Geteuid()), judgeAgent(p.Agent)}
	if p.Agent != 0 {
		all = append(all, judgeUnit(readText(fmt.Sprintf("/proc/%d/cgroup", p.Agent))))
	}
	all = append(all, examineState(p.StateDir)...)
	all = append(all, examineDisk(ctx, p.StateDir)...)
	return append(all, examineClock(), examineCgroups("/sys/fs/cgroup"),
		judgePing(readText("/proc/sys/net/ipv4/ping_group_range"), os.Getegid(), os.Geteuid() == 0), examineFiles(p.Agent), judgeManager(managed("/")))
}

func readText(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func fine(check, format string, args ...any) health.Finding {
	return health.Finding{Check: check, Grade: health.GradeOK, What: fmt.Sprintf(format, args...)}
}

func judgeUser(uid int) health.Finding {
	if uid == 0 {
		return fine("user", "this is root")
	}
	return health.Finding{Check: "user", Grade: health.GradeStop, What: fmt.Sprintf("this is uid %d, not root", uid),
		Why: "the engines' tools, the deaths of processes and the network namespaces of containers are root's alone", Do: "run it as root: sudo atalaya doctor"}
}

func judgeAgent(pid int) health.Finding {
	if pid != 0 {
		return fine("agent", "the agent runs, pid %d", pid)
	}
	return health.Finding{Check: "agent", Grade: health.GradeNote, What: "no agent is running",
		Why: "nobody watches this host now", Do: "systemctl enable --now atalaya"}
}

// judgeUnit reads /proc/PID/cgroup. In a login session's or a container's control group the agent ends with that.
func judgeUnit(cgroup string) health.Finding {
	path := ""
	for line := range strings.Lines(cgroup) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && (f[1] == "name=systemd" || f[1] == "" && path == "") {
			path = f[2]
		}
	}
	switch {
	case strings.HasSuffix(path, ".service"):
		return fine("control group", "the agent lives in %s", path)
	case strings.Contains(path, "session-") && strings.HasSuffix(path, ".scope"):
		return health.Finding{Check: "control group", Grade: health.GradeWarn, What: "the agent lives in a login session: " + path,
			Why: "it may be ended when that person logs out, and what it starts counts as theirs", Do: "end it there, then: systemctl enable --now atalaya"}
	}
	return health.Finding{Check: "control group", Grade: health.GradeNote, What: fmt.Sprintf("the agent lives in the control group %q, which is no service", path),
		Why: "nobody starts it again, and its commands inherit what it has", Do: "run it as a service: systemctl enable --now atalaya"}
}

// examineState looks at the folder of the database.
func examineState(dir string) []health.Finding {
	const check = "state folder"
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []health.Finding{{Check: check, Grade: health.GradeNote, What: fmt.Sprintf("%q does not exist yet", dir), Why: "no agent has run here",
			Do: "nothing: the agent makes it"}}
	case err != nil:
		return []health.Finding{{Check: check, Grade: health.GradeWarn, What: err.Error(), Why: "an agent that remembers nothing takes every container for a new one, and what is down for meant so",
			Do: "see to it that root can enter the folder"}}
	case !info.IsDir():
		return []health.Finding{{Check: check, Grade: health.GradeWarn, What: fmt.Sprintf("%q is no folder", dir), Why: "an agent that remembers nothing takes every container for a new one, and what is down for meant so",
			Do: "move it away, or set store.dir"}}
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return []health.Finding{{Check: check, Grade: health.GradeWarn, What: fmt.Sprintf("%q cannot be written: %v", dir, err),
			Why: "healing goes on from memory, one attempt per container, and is forgotten with the agent", Do: "mount it read-write, or set store.dir"}}
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return []health.Finding{{Check: check, Grade: health.GradeWarn, What: fmt.Sprintf("%q has the mode %04o", dir, mode),
			Why: "what is recorded about customers can be read by others", Do: "chmod 0700 " + strconv.Quote(dir)}}
	}
	return []health.Finding{fine(check, "%q can be written, by root alone", dir)}
}

// What a disk must have left.
const (
	lowBytes  = 256 << 20
	lowShare  = 5 // percent
	lowInodes = 1000
)

func examineDisk(ctx context.Context, dir string) []health.Finding {
	at := dir
	for at != "/" && at != "." {
		if _, err := os.Stat(at); err == nil {
			break
		}
		at = filepath.Dir(at) // where it will be made
	}
	u, err := disk.UsageWithContext(ctx, at)
	if err != nil {
		return []health.Finding{{Check: "disk", Grade: health.GradeWarn, What: fmt.Sprintf("the room below %q cannot be told: %v", at, err), Why: "states and evidence go there", Do: "look with df"}}
	}
	return judgeDisk(at, u)
}

func judgeDisk(at string, u *disk.UsageStat) []health.Finding {
	why := "healing goes on from memory when it is full, but nothing is remembered, and no evidence kept"
	var all []health.Finding
	if u.Free < lowBytes || u.UsedPercent > 100-lowShare {
		all = append(all, health.Finding{Check: "disk", Grade: health.GradeWarn, What: fmt.Sprintf("%d MiB are free below %q, %.0f %% are used", u.Free>>20, at, u.UsedPercent), Why: why,
			Do: "make room, or set store.dir and evidence.dir to another file system"})
	} else {
		all = append(all, fine("disk", "%d MiB are free below %q", u.Free>>20, at))
	}
	switch {
	case u.InodesTotal == 0: // btrfs and others make them as needed
	case u.InodesFree < lowInodes:
		all = append(all, health.Finding{Check: "inodes", Grade: health.GradeWarn, What: fmt.Sprintf("%d inodes are free below %q", u.InodesFree, at), Why: why,
			Do: "remove small files: df -i says where they are"})
	default:
		all = append(all, fine("inodes", "%d inodes are free below %q", u.InodesFree, at))
	}
	return all
}

// examineClock asks the kernel whether something keeps its clock right; see adjtimex(2).
func examineClock() health.Finding {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return judgeClock(state, t.Status, err)
}

func judgeClock(state int, status int32, err error) health.Finding {
	const check = "clock"
	switch {
	case err != nil:
		return health.Finding{Check: check, Grade: health.GradeNote, What: fmt.Sprintf("the kernel does not say whether its clock is synchronised: %v", err),
			Why: "times in evidence are compared with other people's", Do: "look with timedatectl"}
	case state == unix.TIME_ERROR || status&unix.STA_UNSYNC != 0:
		return health.Finding{Check: check, Grade: health.GradeWarn, What: "nothing synchronises the clock",
			Why: "times in evidence and alerts will not match the provider's, who may say so", Do: "install and start chrony or systemd-timesyncd"}
	}
	return fine(check, "the clock is synchronised")
}

func examineCgroups(at string) health.Finding {
	var top, unified unix.Statfs_t
	err := unix.Statfs(at, &top)
	hybrid := unix.Statfs(filepath.Join(at, "unified"), &unified) == nil && unified.Type == unix.CGROUP2_SUPER_MAGIC
	return judgeCgroups(err, err == nil && top.Type == unix.CGROUP2_SUPER_MAGIC, hybrid)
}

func judgeCgroups(err error, v2, hybrid bool) health.Finding {
	const check = "cgroups"
	switch {
	case err != nil:
		return health.Finding{Check: check, Grade: health.GradeWarn, What: fmt.Sprintf("no control groups are mounted: %v", err), Why: "containers need them", Do: "mount them, as systemd does"}
	case v2:
		return fine(check, "version 2")
	case hybrid:
		return fine(check, "version 1, with version 2 beside it (hybrid)")
	}
	return health.Finding{Check: check, Grade: health.GradeNote, What: "version 1", Why: "out-of-memory kills and freezes are told with less detail", Do: "nothing, unless the engine can do with version 2"}
}

// judgePing reads net.ipv4.ping_group_range, for a process of that group; raw says that it may open raw sockets besides.
func judgePing(text string, gid int, raw bool) health.Finding {
	const check = "ping_group_range"
	f := strings.Fields(text)
	if len(f) == 2 {
		low, err1 := strconv.Atoi(f[0])
		high, err2 := strconv.Atoi(f[1])
		if err1 == nil && err2 == nil && low <= gid && gid <= high {
			return fine(check, "%d to %d: probes of the kind icmp need no privilege", low, high)
		}
	}
	if raw {
		return fine(check, "%q does not hold group %d: probes of the kind icmp use a raw socket, which root may", strings.Join(f, " "), gid)
	}
	return health.Finding{Check: check, Grade: health.GradeWarn, What: fmt.Sprintf("%q does not hold group %d", strings.Join(f, " "), gid),
		Why: "a probe of the kind icmp is unsure then, and never counts", Do: "sysctl -w net.ipv4.ping_group_range='0 2147483647', or give the agent CAP_NET_RAW"}
}

// needFiles is what an agent opens at most on a big host: a pidfd for each of 1,000 containers, sockets of as many probes,
// and some for commands.
const needFiles = 4096

// examineFiles looks at the limit of the running agent, else at our own; the Go runtime raises the soft one by itself.
func examineFiles(agent int) health.Finding {
	var l unix.Rlimit
	if err := unix.Prlimit(agent, unix.RLIMIT_NOFILE, nil, &l); err != nil {
		return health.Finding{Check: "nofile", Grade: health.GradeNote, What: fmt.Sprintf("the limit of open files cannot be read: %v", err), Why: "each container takes one", Do: "be root"}
	}
	return judgeFiles(l.Max)
}

func judgeFiles(max uint64) health.Finding {
	if max >= needFiles {
		return fine("nofile", "%d files may be open at once", max)
	}
	return health.Finding{Check: "nofile", Grade: health.GradeWarn, What: fmt.Sprintf("no more than %d files may be open at once", max),
		Why: fmt.Sprintf("each container takes one, and each probe under way: %d are needed on a big host", needFiles), Do: "LimitNOFILE= in the unit, or ulimit -n"}
}

func judgeManager(systemd bool) health.Finding {
	if systemd {
		return fine("systemd", "process 1 is systemd: shutdowns and restarts of engines are known")
	}
	return health.Finding{Check: "systemd", Grade: health.GradeNote, What: "process 1 is not systemd",
		Why: "shutdowns and restarts of engines are not known: what stops then looks as if it had died", Do: "say 'atalaya hold --all' before maintenance"}
}
