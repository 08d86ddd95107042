package engine

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
)

// What vzctl keeps in files of the host, read by pure functions. Both vzctl 4 and 7 have them.

// parseVZConf reads a configuration of vzctl, global or of one container: shell assignments, KEY="value". $VEID stands for
// the id and is left to the caller.
func parseVZConf(b []byte) map[string]string {
	keys := map[string]string{}
	for line := range strings.Lines(string(b)) {
		k, v, ok := lxcLine(line) // the same form: blanks around, one pair of quotes
		if ok && k != "" {
			keys[k] = v
		}
	}
	return keys
}

// vzID puts an id where a value of a configuration has $VEID.
func vzID(value, id string) string {
	return strings.NewReplacer("$VEID", id, "${VEID}", id).Replace(value)
}

// vzLinks gives the host interfaces that a container's network hangs on: the bridges of its veth devices
// (samples/vzctl-upstream-network-session.txt, NETIF), and venet0 where it has routed addresses.
func vzLinks(conf map[string]string) []string {
	var links []string
	for dev := range strings.SplitSeq(conf["NETIF"], ";") {
		for part := range strings.SplitSeq(dev, ",") {
			if bridge, ok := strings.CutPrefix(strings.TrimSpace(part), "bridge="); ok && bridge != "" {
				links = append(links, bridge)
			}
		}
	}
	if strings.TrimSpace(conf["IP_ADDRESS"]) != "" {
		links = append(links, "venet0")
	}
	return links
}

// vzTri reads yes and no of a configuration. Unset means that it starts if it ran before the reboot (FACTS §1): not known.
func vzTri(v string) health.Tri {
	switch strings.ToLower(strings.TrimSpace(v)) {
	case "yes", "true", "1", "on", "auto":
		return health.Yes
	case "no", "false", "0", "off":
		return health.No
	}
	return health.Maybe
}

// parseVZLock reads a lock file: the pid of its holder, then the action (kolyshkin/vzctl src/lib/lock.c vps_lock, where it
// is always empty; OpenVZ/libvzctl lib/lock.c _lock_file, where it is "stopping", "Backing up", …). ok is false for what
// vzctl itself would remove: no pid in it.
func parseVZLock(b []byte) (pid int, action string, ok bool) {
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	pid, err := strconv.Atoi(string(bytes.TrimSpace(first)))
	second, _, _ := bytes.Cut(rest, []byte("\n"))
	return pid, tidy(string(second)), err == nil && pid > 0
}

// vzStop is what the log says last about the life of one container.
type vzStop struct {
	stopped bool      // it was stopped by a command, and nothing has started it since
	at      time.Time // when that was done
	how     string    // "Stopping container ...": what the command said
	fserror string    // its file system reported an error, and nothing has started it since
}

// parseVZLog reads vzctl.log: "2026-11-23T15:52:05+0000 vzctl : CT 102 : Container is mounted" (samples/vzctl.log). A
// failed start ends in "Killing container ..." and "Container was stopped" too, and so does the reaction to an error of the
// file system (OpenVZ/vzctl@3283b72d etc/vzevent.d/ve-fserror); nobody asked for those.
func parseVZLog(b []byte) map[string]vzStop {
	last := map[string]vzStop{}
	starting, ending := map[string]bool{}, map[string]string{}
	for line := range strings.Lines(string(b)) {
		l, ok := cutVZLog(line)
		s := last[l.id]
		switch {
		case !ok:
			continue
		case l.prog == "fserror":
			s.fserror = l.words
		case strings.HasPrefix(l.words, "Restarting"):
			starting[l.id], ending[l.id], s = false, "", vzStop{}
		case strings.HasPrefix(l.words, "Starting "):
			starting[l.id], ending[l.id], s = true, "", vzStop{}
		case strings.HasPrefix(l.words, "Container start in progress"):
			starting[l.id] = false
		case strings.HasPrefix(l.words, "Stopping "), strings.HasPrefix(l.words, "Killing "):
			if !starting[l.id] && ending[l.id] == "" && s.fserror == "" {
				ending[l.id] = l.words
			}
		case strings.HasPrefix(l.words, "Container was stopped") && ending[l.id] != "":
			s.stopped, s.at, s.how, ending[l.id] = true, l.at, ending[l.id], ""
		}
		last[l.id] = s
	}
	return last
}

// vzLogLine is one line of vzctl.log that is about a container.
type vzLogLine struct {
	at              time.Time
	prog, id, words string
}

// cutVZLog takes a line apart; ok only where vzctl itself speaks about a container, or the script that sees errors of file
// systems, which writes another form of time and "Container" for "CT".
func cutVZLog(line string) (l vzLogLine, ok bool) {
	f := strings.SplitN(strings.TrimSpace(line), " : ", 3)
	if len(f) != 3 {
		return l, false
	}
	stamp, prog, _ := strings.Cut(f[0], " ")
	at, err := time.Parse("2006-01-02T15:04:05-0700", stamp)
	if err != nil {
		at, err = time.Parse(time.RFC3339, stamp)
	}
	l = vzLogLine{at: at, prog: strings.TrimSpace(prog), words: tidy(f[2])}
	switch l.prog {
	case "vzctl":
		l.id, ok = strings.CutPrefix(f[1], "CT ")
	case "fserror":
		l.id, ok = strings.CutPrefix(f[1], "Container ")
	}
	return l, ok && err == nil
}

// parseBeancounters reads how often each beancounter of each container refused: columns uid, resource, held, maxheld,
// barrier, limit, failcnt (FACTS §1; kolyshkin/vzctl src/vzlist.c get_ub). Uid 0 is the host.
func parseBeancounters(b []byte) map[string]map[string]uint64 {
	out := map[string]map[string]uint64{}
	id := ""
	for line := range strings.Lines(string(b)) {
		if uid, rest, ok := strings.Cut(line, ":"); ok {
			if _, err := strconv.ParseUint(strings.TrimSpace(uid), 10, 64); err != nil {
				continue // "Version: 2.5"
			}
			id, line = strings.TrimSpace(uid), rest
		}
		f := strings.Fields(line)
		if id == "" || id == "0" || len(f) != 6 || f[0] == "dummy" {
			continue
		}
		if n, err := strconv.ParseUint(f[5], 10, 64); err == nil {
			if out[id] == nil {
				out[id] = map[string]uint64{}
			}
			out[id][f[0]] = n
		}
	}
	return out
}
