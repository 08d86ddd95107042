package hostexec

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stat is what /proc/PID/stat tells of one process; see proc_pid_stat(5).
type stat struct {
	state byte   // field 3: R, S, D, Z, …
	start uint64 // field 22: clock ticks after boot
}

// readStat reads /proc/PID/stat. The command name is in parentheses and may hold anything, so fields are counted from
// the last one.
func readStat(pid int) (stat, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	b, err := os.ReadFile(path)
	if err != nil {
		return stat{}, err
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return stat{}, fmt.Errorf("read %q: unexpected form %q", path, b)
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("read %q: start time: %w", path, err)
	}
	return stat{state: fields[0][0], start: start}, nil
}

// alive reports whether the process that had this pid at this start time still runs. A zombie does not: it can do
// nothing more. A start time of 0 is taken as not known.
func alive(pid int, start uint64) bool {
	s, err := readStat(pid)
	return err == nil && (start == 0 || s.start == start) && s.state != 'Z' && s.state != 'X'
}

// sleepsForGood reports whether the process is in uninterruptible sleep at this moment.
func sleepsForGood(pid int) bool {
	s, err := readStat(pid)
	return err == nil && s.state == 'D'
}

// bootID tells one boot of this kernel from another; pids and start times mean nothing across boots. It is empty when
// /proc is not what it should be.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// holder finds the process whose standard output or error is the file at path: the oldest one, since the command is
// older than whatever it started. It reads all of /proc, which takes some milliseconds on a busy host, and is needed only
// where an agent was killed between starting a command and writing down its pid.
func holder(path string) (pid int, start uint64, err error) {
	want, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/[12]")
	if err != nil {
		return 0, 0, err
	}
	for _, link := range links {
		got, err := os.Stat(link)
		if err != nil || !os.SameFile(want, got) {
			continue
		}
		id, _ := strconv.Atoi(strings.Split(link, "/")[2])
		if s, err := readStat(id); err == nil && s.state != 'Z' && (pid == 0 || s.start < start || s.start == start && id < pid) {
			pid, start = id, s.start
		}
	}
	if pid == 0 {
		return 0, 0, errNoHolder
	}
	return pid, start, nil
}

var errNoHolder = errors.New("no process has this file as its output")
