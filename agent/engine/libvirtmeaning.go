package engine

import (
	"path/filepath"
	"regexp"
	"strings"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// virtCommands says what a command of virsh does to the life of a domain (virsh(1)). Those that are not here end nothing;
// console, dumpxml and event prove nothing.
func virtCommands() map[string]health.Verb {
	return map[string]health.Verb{
		"destroy": health.VerbKill, "shutdown": health.VerbStop, "reboot": health.VerbRestart, "reset": health.VerbRestart,
		"managedsave": health.VerbStop, "save": health.VerbStop, "suspend": health.VerbStop, "dompmsuspend": health.VerbStop, "inject-nmi": health.VerbKill,
		"send-process-signal": health.VerbStop, "set-lifecycle-action": health.VerbStop,
		"migrate": health.VerbMove, "domrename": health.VerbMove, "undefine": health.VerbRemove,
		"dump": health.VerbSnapshot, "snapshot-create": health.VerbSnapshot, "snapshot-create-as": health.VerbSnapshot, "snapshot-revert": health.VerbSnapshot,
		"snapshot-delete": health.VerbSnapshot, "backup-begin": health.VerbSnapshot, "blockcommit": health.VerbSnapshot, "blockcopy": health.VerbSnapshot,
	}
}

// virtValued are virsh's own options that take a value.
const virtValued = "cdekKl"

// meaning reads a command line of virsh. What is given to a virsh that asks for its commands itself is not seen; libvirt's
// reason then tells.
func (l *libvirt) meaning(argv []string) (string, health.Verb, bool) {
	if filepath.Base(argv[0]) != "virsh" {
		return "", "", false
	}
	uri, words := virtCommandLine(argv[1:])
	if uri == "" {
		uri = virtDefaultURI
	}
	if !sameVirtURI(uri, l.uri) {
		return "", "", false
	}
	if len(words) == 1 { // one word is a script: commands behind each other
		for cmd := range strings.SplitSeq(strings.ReplaceAll(words[0], "\n", ";"), ";") {
			if id, verb, ok := l.oneCommand(strings.Fields(strings.NewReplacer(`"`, "", `'`, "").Replace(cmd))); ok {
				return id, verb, true
			}
		}
		return "", "", false
	}
	return l.oneCommand(words)
}

// oneCommand reads one command of virsh: the domain is the first word behind it, or what --domain says.
func (l *libvirt) oneCommand(words []string) (string, health.Verb, bool) {
	if len(words) < 2 {
		return "", "", false
	}
	verb, ok := virtCommands()[words[0]]
	if !ok {
		return "", "", false
	}
	valued := []string{"domain", "mode", "file", "name", "xmlfile", "snapshotname", "desturi", "migrateuri", "diskspec", "newname"}
	o := getopt(words[1:], "", valued, []string{"live", "graceful", "managed-save", "paused", "running", "bypass-cache"})
	target := o.values["domain"]
	if target == "" && len(o.rest) > 0 {
		target = o.rest[0]
	}
	if id := l.named(target); id != "" {
		return id, verb, true
	}
	return "", "", false
}

// named gives the domain that a word names to virsh: by id, by UUID, by name.
func (l *libvirt) named(word string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for uuid, d := range l.known {
		if strings.EqualFold(uuid, word) || virtNumber([]byte(word)) > 0 && l.number(d) == word {
			return d.name
		}
	}
	if checkID(word) != nil {
		return ""
	}
	return word
}

// virtIDRE is the id in the state that the daemon keeps of a VM.
var virtIDRE = regexp.MustCompile(`<domain type='[a-z]+' id='([0-9]+)'`)

// number is libvirt's number of a running domain. The caller holds mu.
func (l *libvirt) number(d *virtDomain) string {
	if d.said.domid != "" || !l.local {
		return d.said.domid
	}
	b, err := readBounded(l.file("/run/libvirt/"+l.driver+"/"+d.name+".xml"), 1<<20)
	if m := virtIDRE.FindSubmatch(b); err == nil && m != nil {
		return string(m[1])
	}
	return ""
}

// virtCommandLine takes the connection and the command from what stands behind "virsh".
func virtCommandLine(argv []string) (uri string, words []string) {
	for i := 0; i < len(argv); i++ {
		a := argv[i]
		switch {
		case a == "--":
			return uri, argv[i+1:]
		case a == "--connect" && i+1 < len(argv):
			i++
			uri = argv[i]
		case strings.HasPrefix(a, "--connect="):
			uri = strings.TrimPrefix(a, "--connect=")
		case a == "--debug", a == "--escape", a == "--keepalive-interval", a == "--keepalive-count", a == "--log":
			i++
		case strings.HasPrefix(a, "--"):
		case len(a) > 1 && a[0] == '-':
			at := strings.IndexAny(a[1:], virtValued)
			if at < 0 {
				continue
			}
			value := a[at+2:]
			if value == "" && i+1 < len(argv) {
				i++
				value = argv[i]
			}
			if a[at+1] == 'c' {
				uri = value
			}
		default:
			return uri, argv[i:]
		}
	}
	return uri, nil
}

// sameVirtURI compares connections: lxc:///, lxc:/// and lxc:///system are one.
func sameVirtURI(a, b string) bool {
	norm := func(s string) string {
		if s == "lxc:" || s == "lxc://" || s == "lxc:///" {
			return "lxc:///system"
		}
		return strings.TrimSuffix(s, "/")
	}
	return norm(a) == norm(b)
}

// readVirtAnswer takes the answer of a start, stop or kill. Every failure is exit 1.
func readVirtAnswer(t hostexec.Transcript, _ []byte) Answer {
	var a Answer
	said := virtErrors(t.Stderr)
	a.Already = strings.Contains(string(t.Stderr), "Domain is already active")
	if err := t.Err(); err != nil && !a.Already {
		a.Err, a.Cause = err.Error(), virtCause(t.Stderr)
		if len(said) > 0 {
			a.Err = "virsh: " + strings.Join(said, ": ")
		}
	}
	return a
}

// virtWrappers are what libvirt puts around the words that tell.
var virtWrappers = regexp.MustCompile(`^(internal error|operation failed|unsupported configuration|process exited while connecting to monitor|` +
	`qemu unexpectedly closed the monitor|Timed out while reading log output|Failure in libvirt_lxc startup|Hook script execution failed|` +
	`Child process \(.*\) unexpected exit status [0-9]+|libvirt: +error |[0-9T:.-]+Z qemu-[^ :]+) ?: +`)

// virtCause gives the innermost words of an error: the last line that says something, without what is wrapped around it.
func virtCause(stderr []byte) string {
	last := ""
	for line := range strings.Lines(string(stderr)) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "error:"))
		if line != "" && line != "^" && line != "(null)" {
			last = line
		}
	}
	for {
		at := virtWrappers.FindStringIndex(last)
		if at == nil {
			return tidy(last)
		}
		last = last[at[1]:]
	}
}

var virtExitRE = regexp.MustCompile(`\n?error: internal error: Child process \([0-9]+\) unexpected exit status ([0-9]+)\s*$`)

// virtExecEnd takes the exit code of a command that ran inside: virsh itself exits 1 and tells the code in words.
func virtExecEnd(t hostexec.Transcript) hostexec.Transcript {
	if m := virtExitRE.FindSubmatchIndex(t.Stderr); t.Exit == 1 && m != nil {
		t.Exit = virtNumber(t.Stderr[m[2]:m[3]])
		t.Stderr = t.Stderr[:m[0]]
	}
	return t
}
