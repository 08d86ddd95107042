package sentinel

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// Examine says what of the kernel's notices can be had here. It changes nothing.
func Examine() []health.Finding {
	_, err := os.Stat("/proc/self/ns/net")
	ours, _ := os.Readlink("/proc/self/ns/net")
	first, _ := os.Readlink("/proc/1/ns/net")
	return []health.Finding{judgePidfd(tryPidfd()), judgeFanotify(tryFanotify()), judgeNetns(err, ours, first)}
}

func tryPidfd() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

func judgePidfd(err error) health.Finding {
	if err == nil {
		return health.Finding{Check: "pidfd", Grade: health.GradeOK, What: "the kernel tells of a death within milliseconds (pidfd)"}
	}
	return health.Finding{Check: "pidfd", Grade: health.GradeWarn, What: fmt.Sprintf("no pidfd can be had: %v", err),
		Why: "deaths are noticed by the proc connector, or only by polling", Do: "a kernel from 5.3 on has them; allow pidfd_open in a seccomp filter"}
}

func tryFanotify() error {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_LARGEFILE)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_EXEC, unix.AT_FDCWD, exe); err != nil {
		return fmt.Errorf("mark %q: %w", exe, err)
	}
	return nil
}

func judgeFanotify(err error) health.Finding {
	if err == nil {
		return health.Finding{Check: "fanotify", Grade: health.GradeOK, What: "each run of an engine's tool is seen (fanotify)"}
	}
	do := "a kernel from 5.0 on can do it"
	if errors.Is(err, unix.EPERM) {
		do = "give the agent CAP_SYS_ADMIN"
	}
	return health.Finding{Check: "fanotify", Grade: health.GradeWarn, What: fmt.Sprintf("the runs of engines' tools cannot be watched: %v", err),
		Why: "a person's stop is known only while the command lives, or where the engine keeps a record: what was stopped by a quick command may be started again", Do: do}
}

func judgeNetns(err error, ours, first string) health.Finding {
	const check = "network namespace"
	switch {
	case err != nil:
		return health.Finding{Check: check, Grade: health.GradeNote, What: "the kernel has no network namespaces", Why: "no probe is tried from inside a container", Do: "nothing"}
	case first == "":
		return health.Finding{Check: check, Grade: health.GradeNote, What: "that of process 1 cannot be read", Why: "it cannot be told whether this is the host's own, and LXC's containers read as stopped from another", Do: "be root; as root, nothing, if this is the host itself"}
	case ours != first:
		return health.Finding{Check: check, Grade: health.GradeStop, What: "this is another one than that of process 1",
			Why: "LXC's state sockets belong to a network namespace: every container reads as stopped from here, and a start would make a second one",
			Do:  "run it outside of containers and of ip netns, and remove PrivateNetwork= from the unit"}
	}
	return health.Finding{Check: check, Grade: health.GradeOK, What: "it is the host's own"}
}
