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
	l.mu.Lock()
	var conf lxcConf
	if e := l.known[id]; e != nil {
		conf = e.conf
	}
	l.mu.Unlock()
	if len(conf.files) == 0 {
		conf = readLXCConf(filepath.Join(l.path, id, "config"))
	}
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
	for _, log := range l.logs(id, conf) {
		shows := "the virtualization software's standing log of this container, " + log
		out = append(out, Source{Name: "lxc.log", Shows: shows, Path: log, Tail: lxcLogTail})
	}
	// The container writes its console: a link in its place must not lead elsewhere.
	if c := conf.console; c != "" && c != "none" && filepath.IsAbs(c) {
		const shows = "what the container wrote to its console: its own last words"
		out = append(out, Source{Name: "console.log", Shows: shows, Root: filepath.Dir(c), Path: filepath.Base(c), Volatile: true, Tail: lxcLogTail})
	} else {
		out = append(out, Source{Name: "console.log", Absent: "this container's configuration keeps no console log (lxc.console.logfile)"})
	}
	return out
}

// logs gives where LXC logs about this container: where its configuration says, else where it does by itself.
func (l *lxc) logs(id string, conf lxcConf) []string {
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
