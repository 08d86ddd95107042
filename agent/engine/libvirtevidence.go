package engine

import (
	"fmt"
	"path/filepath"
	"strings"

	"atalaya/agent/health"
)

// evidence names what libvirt has about a domain. Its definition is asked for and not read from its file, which holds
// passwords.
func (l *libvirt) evidence(id string, _ health.Sighting) []Source {
	domain, err := l.domain(id)
	if err != nil {
		return nil
	}
	l.mu.Lock()
	var conf virtConf
	runs := true
	if d := l.known[domain]; d != nil {
		conf, runs = d.conf, d.said.state != "shut off"
	}
	l.mu.Unlock()
	ask := func(cmds ...string) []string {
		for i := range cmds {
			cmds[i] += " " + domain
		}
		return l.virsh(strings.Join(cmds, "; "))
	}
	var out []Source
	if runs && conf.screen && l.driver == "qemu" {
		// Quiet, it prints nothing but the picture, a PNG (measured with libvirt 9.0 and qemu 7.2).
		argv := append(l.argv("virsh", "-q", "-c", l.uri), "screenshot", domain, "--file", "/dev/stdout")
		out = append(out, Source{Name: "screenshot.png", Shows: "the screen of the VM, a picture", Argv: argv, Volatile: true, Image: true})
	}
	state := []string{"domstate --reason", "dominfo"}
	if l.driver == "qemu" {
		state = append(state, "domcontrol", "domblkerror", "domjobinfo", "domstats --nowait")
	}
	out = append(out, Source{Name: "libvirt-state.txt", Argv: ask(state...), Volatile: true},
		Source{Name: "libvirt-domain.xml", Argv: l.virsh("dumpxml", domain), Volatile: true})
	if l.local || l.far() {
		log := l.file("/var/log/libvirt/" + l.driver + "/" + id + ".log")
		out = append(out, Source{Name: l.driver + ".log", Shows: "the log that libvirt keeps of its lives", Path: log, Tail: lxcLogTail})
	}
	return append(out, l.logs(id)...)
}

// logs are the files that a guest's consoles go to, where the definition says so. The guest writes their content, and libvirt
// their names: only their own folder is trusted.
func (l *libvirt) logs(id string) (out []Source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range l.known {
		if d.name != id || !l.local {
			continue
		}
		for i, path := range d.conf.consoles {
			name := "console.log"
			if i > 0 {
				name = fmt.Sprintf("console-%d.log", i)
			}
			out = append(out, Source{Name: name, Shows: "what the guest wrote to its console", Root: filepath.Dir(path), Path: filepath.Base(path), Volatile: true, Tail: lxcLogTail})
		}
	}
	return out
}
