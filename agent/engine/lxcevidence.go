package engine

import (
	"os"
	"path/filepath"

	"atalaya/agent/health"
)

// lxcLogTail is how much is kept of a log's end, in bytes.
const lxcLogTail = 256 << 10

// evidence names what LXC leaves about a container. Redacting its configuration is the reader's work.
func (l *lxc) evidence(id string, _ health.Sighting) []Source {
	conf := l.confOf(id)
	out := []Source{{Name: "lxc-info.txt", Shows: "what the virtualization software says of the container", Argv: l.argv("lxc-info", id), Volatile: true}}
	for i, f := range conf.files {
		if info, err := os.Stat(f); err != nil || !info.Mode().IsRegular() {
			continue // a folder of includes is only there to be watched
		}
		name := "config"
		if i > 0 {
			name = "config-include-" + filepath.Base(f)
		}
		out = append(out, Source{Name: name, Shows: "the container's configuration, " + f, Path: f})
	}
	for _, log := range l.standingLogs(id, conf) {
		shows := "the virtualization software's standing log of this container, " + log
		out = append(out, Source{Name: "lxc.log", Shows: shows, Path: log, Tail: lxcLogTail})
	}
	if console := consoleOf(conf); len(console) > 0 {
		return append(out, console...)
	}
	return append(out, Source{Name: "console.log", Absent: "this container's configuration keeps no console log (lxc.console.logfile)"})
}

// logs is the container's console, where its configuration has it kept.
func (l *lxc) logs(id string) []Source { return consoleOf(l.confOf(id)) }

// consoleOf names the console's file. The container writes it: a link in its place must not lead elsewhere.
func consoleOf(conf lxcConf) []Source {
	c := conf.console
	if c == "" || c == "none" || !filepath.IsAbs(c) {
		return nil
	}
	const shows = "what the container wrote to its console: its own last words"
	return []Source{{Name: "console.log", Shows: shows, Root: filepath.Dir(c), Path: filepath.Base(c), Volatile: true, Tail: lxcLogTail}}
}

// confOf gives what is known of a container's configuration, or reads it.
func (l *lxc) confOf(id string) lxcConf {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.known[id]; e != nil && len(e.conf.files) > 0 {
		return e.conf
	}
	return readLXCConf(filepath.Join(l.path, id, "config"))
}

// standingLogs gives where LXC logs about this container: where its configuration says, else where it does by itself.
func (l *lxc) standingLogs(id string, conf lxcConf) []string {
	candidates := []string{conf.logFile}
	if conf.logFile == "" {
		candidates = []string{filepath.Join("/var/log/lxc", id+".log"), filepath.Join(l.path, id, id+".log")}
	}
	for _, c := range candidates {
		if info, err := os.Stat(c); err == nil && info.Mode().IsRegular() && filepath.IsAbs(c) {
			return []string{c}
		}
	}
	return nil
}
