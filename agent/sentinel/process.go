package sentinel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"atalaya/agent/health"
)

// This file reads the one line in which the kernel tells lives of a pid apart: /proc/PID/stat, see proc(5).

// ErrDead is what Watch and the namespace functions wrap when the process they were given no longer lives: it has ended,
// or its pid has another owner now.
var ErrDead = errors.New("the process has ended")

// stat is what is needed of /proc/PID/stat.
type stat struct {
	name    string // field 2, printable
	state   byte   // field 3: R, S, D, Z, T, t, X, I
	parent  int    // field 4
	tty     int    // field 7: device number of the controlling terminal; 0: none
	threads int    // field 20: 1 for a zombie whose threads have all ended
	start   uint64 // field 22: clock ticks after boot
}

// dead says that all threads of the process have ended. A leader that has ended while its threads live reads Z too.
func (s stat) dead() bool {
	return s.state == 'X' || s.state == 'x' || s.state == 'Z' && s.threads <= 1
}

// StartTime gives the start time of a living or unreaped process in clock ticks after boot (field 22 of
// /proc/PID/stat). The error wraps ErrDead when there is no such process.
func StartTime(pid int) (uint64, error) {
	s, err := readStat(pid)
	return s.start, err
}

// Alive says whether p still lives. Zombies and pids with another owner do not. With p.Start zero, any process of that
// pid will do.
func Alive(p health.Process) bool {
	s, err := readStat(p.PID)
	return err == nil && !s.dead() && (p.Start == 0 || s.start == p.Start)
}

// identify fills p.Start, and says ErrDead of a process that has ended or whose pid has another owner.
func identify(p health.Process) (health.Process, error) {
	s, err := readStat(p.PID)
	switch {
	case err != nil:
		return p, err
	case s.dead():
		return p, fmt.Errorf("pid %d: %w", p.PID, ErrDead)
	case p.Start != 0 && p.Start != s.start:
		return p, fmt.Errorf("pid %d: %w: the pid belongs to another process now (started at tick %d, not %d)",
			p.PID, ErrDead, s.start, p.Start)
	}
	p.Start = s.start
	return p, nil
}

func readStat(pid int) (stat, error) {
	if pid <= 0 {
		return stat{}, fmt.Errorf("read the start time of pid %d: not a pid", pid)
	}
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	data, err := readSmall(path)
	if err != nil {
		if gone(err) {
			return stat{}, fmt.Errorf("pid %d: %w", pid, ErrDead)
		}
		return stat{}, fmt.Errorf("read the start time of pid %d: %w", pid, err)
	}
	s, err := parseStat(data)
	if err != nil {
		return stat{}, fmt.Errorf("read %q: %w", path, err)
	}
	return s, nil
}

// parseStat begins behind the last ')': the name of a process, which its owner chooses, may hold spaces and parentheses.
func parseStat(data []byte) (stat, error) {
	end := bytes.LastIndexByte(data, ')')
	fields := bytes.Fields(data[end+1:])
	if end < 0 || len(fields) < 20 || len(fields[0]) != 1 {
		return stat{}, fmt.Errorf("not a line of /proc/PID/stat: %.80q", data)
	}
	threads, err := strconv.Atoi(string(fields[17]))
	if err != nil {
		return stat{}, fmt.Errorf("number of threads %q: not a number", fields[17])
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("start time %q: not a number", fields[19])
	}
	s := stat{state: fields[0][0], threads: threads, start: start}
	s.parent, _ = strconv.Atoi(string(fields[1])) // what is no number is a parent nobody asks about
	s.tty, _ = strconv.Atoi(string(fields[4]))
	if begin := bytes.IndexByte(data, '('); begin >= 0 && begin < end {
		s.name = strings.Map(printable, string(data[begin+1:end]))
	}
	return s, nil
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

// gone says that a file of /proc/PID vanished with its process.
func gone(err error) bool { return errors.Is(err, os.ErrNotExist) || errors.Is(err, errNoProcess) }
