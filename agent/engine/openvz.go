package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// OpenVZ legacy: vzctl 4.x and its vzlist. Containers are numbers.
//
// It is asked with vzlist and never with "vzctl status", since every run of vzctl may write to its log. The agent itself
// does not run on the kernels that most of these hosts have (2.6.32): it runs on upstream kernels with vzctl 4.11, and
// reaches the others from elsewhere.

// openvzFields are those that vzlist is asked for in JSON: status because without it the suspended and mounted are not
// looked for, and no description, which is not escaped (samples/vzlist-unescaped-quote.INVALID.json).
const openvzFields = "ctid,name,status,ip,onboot,disabled"

// openvzTable are those of the fallback; all else is read from the configurations.
const openvzTable = "ctid,status,ip"

// openvz is the one installation of it that a host can have.
type openvz struct{ *vzHost }

func openOpenVZ(s Spec, r Runner) (*tool, error) {
	if err := plainSpec(s); err != nil {
		return nil, err
	}
	o := openvz{newVZHost(s, r, "/var/lib/vzctl/vepid/$VEID")} // upstream kernels: kolyshkin/vzctl src/lib/hooks_ct.c
	read := readVZAnswer(vzCodes())
	return &tool{
		facts: facts{intent: "ONBOOT, DISABLED", stopped: "vzctl.log", lock: "the lock file, with holder, action and age", cause: "the exit code and the words of vzctl", supervisor: ""},
		verbs: map[health.Verb]verb{
			// Leftover snapshots are merged first, for minutes (kb.plesk.com/en/122262).
			health.VerbStart: {argv: o.command(false, "start"), limit: 5 * time.Minute, slack: 10 * time.Second, read: o.read(read)},
			// It runs halt inside, waits 120 s, then kills (FACTS §1, measured 121 s); it takes no limit of ours.
			health.VerbStop: {argv: o.command(true, "stop"), limit: 3 * time.Minute, slack: 30 * time.Second, read: o.read(read)},
			// It gives up after 62 s (samples/vzctl-cannot-stop-or-restart.txt).
			health.VerbKill:    {argv: o.command(true, "stop", "--fast"), limit: 90 * time.Second, slack: 10 * time.Second, read: o.read(read)},
			health.VerbRestart: {argv: o.command(true, "restart"), limit: 8 * time.Minute, slack: 30 * time.Second, read: o.read(read)},
			// What a death left mounted (FACTS §1, the first step of the repair ladder).
			health.VerbRepair: {argv: o.command(false, "umount"), limit: 2 * time.Minute, slack: 10 * time.Second, read: o.read(read)},
			health.VerbBackup: {argv: o.snapshot, limit: 10 * time.Minute, slack: 10 * time.Second, read: o.read(read)},
		},
		checkID: checkVZNumber, list: o.list, look: o.look, defined: o.defined, place: o.place, exec: o.exec,
		meaning: o.meaning, files: vzFiles("vzctl", "vzmigrate", "vzdump"), evidence: o.evidence, hint: o.hint, lastBackup: o.lastBackup,
		version: o.argv("vzctl", "--version"), units: []string{"vz.service"}, autostarter: "vz.service",
		blind: []string{
			"A guest that powers itself off looks like one that died: vzctl keeps no record of it.",
			"The pid of an init is known on upstream kernels only (/var/lib/vzctl/vepid); elsewhere deaths are noticed by polling.",
		},
	}, nil
}

// plainSpec refuses what belongs to other engines.
func plainSpec(s Spec) error {
	switch {
	case s.Custom != nil:
		return errors.New("custom: belongs to the engine \"custom\": remove it")
	case s.Path != "":
		return fmt.Errorf("path %q: belongs to the engine \"lxc\": remove it", s.Path)
	case s.URI != "":
		return fmt.Errorf("uri %q: belongs to the engine \"libvirt\": remove it", s.URI)
	}
	return nil
}

// discoverOpenVZ finds vzctl without the tools of Virtuozzo 7, which come with a vzctl of their own. It starts nothing.
func discoverOpenVZ(context.Context, Runner) []Spec {
	if !installed("vzlist") || !installed("vzctl") || installed("prlctl") {
		return nil
	}
	if _, err := os.Stat("/etc/vz/vz.conf"); err != nil {
		return nil
	}
	return []Spec{{Engine: "openvz"}}
}

// installed looks a tool up where commands are looked up.
func installed(tool string) bool {
	for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if info, err := os.Stat(filepath.Join(dir, tool)); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return true
		}
	}
	return false
}

// checkVZNumber wants a CTID: numbers become no options and no paths.
func checkVZNumber(id string) error {
	if !vzNumberRE.MatchString(id) {
		return fmt.Errorf("container %.40q: OpenVZ knows containers by number, such as 101", id)
	}
	return nil
}

func (h *vzHost) command(ends bool, verb string, more ...string) func(call) ([]string, error) {
	return func(c call) ([]string, error) {
		h.begin(c.id, ends)
		return h.argv("vzctl", append([]string{verb, c.id}, more...)...), nil
	}
}

// read takes an answer of one of our commands, and remembers what it tells about the container.
func (h *vzHost) read(read func(hostexec.Transcript, []byte) Answer) func(hostexec.Transcript, []byte) Answer {
	return func(t hostexec.Transcript, log []byte) Answer {
		id := h.keyOf(subject(t.Argv))
		if !t.Abandoned {
			h.finish(id, t.Started.Add(t.Took))
		}
		if t.Exit == 33 {
			h.cannotStop(id)
		}
		return read(t, log)
	}
}

// subject is the container that a command line of ours names: it stands behind the verb.
func subject(argv []string) string {
	if words := plainWords(argv[min(1, len(argv)):]); len(words) > 1 {
		return words[1]
	}
	return ""
}

// exec needs a shell inside, and makes one word of each argument for it. --quiet keeps its own words off the output, and
// the run out of its log; exec2, unlike exec, gives the command's own exit code (FACTS §1).
func (o openvz) exec(id string, argv []string) ([]string, error) {
	return o.argv("vzctl", "--quiet", "exec2", id, quoteShell(argv)), nil
}

// place tells the folder of the private areas from another that is mounted over it.
func (o openvz) place() string {
	private := o.global()["VE_PRIVATE"]
	dir, _, _ := strings.Cut(private, "$")
	return folderMark(o.file(dir))
}

func (o openvz) meaning(argv []string) (string, health.Verb, bool) {
	return vzMeaning(argv, func(word string) string {
		if vzNumberRE.MatchString(word) {
			return word
		}
		if checkID(word) != nil {
			return ""
		}
		to, err := os.Readlink(o.file("/etc/vz/names/" + word)) // names are links to configurations (FACTS §1)
		if id := strings.TrimSuffix(filepath.Base(to), ".conf"); err == nil && vzNumberRE.MatchString(id) {
			return id
		}
		return ""
	})
}

// hint says who holds the lock of a container that a command about it waits for.
func (h *vzHost) hint(id string) string {
	if l := h.lock(id, id, h.global()); l != nil {
		return fmt.Sprintf("its lock is held by process %d since %s: %s", l.Holder.PID, l.Since.UTC().Format(time.RFC3339), l.Operation)
	}
	return ""
}

func (o openvz) evidence(id string, _ health.Sighting) []Source {
	global := o.global()
	return append([]Source{{Name: "vzlist.json", Argv: o.argv("vzlist", "-a", "-j", id), Volatile: true}}, o.vzEvidence(id, global)...)
}

// vzEvidence are the files of vzctl about a container.
func (h *vzHost) vzEvidence(id string, global map[string]string) []Source {
	return h.there([]Source{
		{Name: "vz-lock.txt", Path: filepath.Join(global["LOCKDIR"], id+".lck"), Volatile: true},
		{Name: "user_beancounters.txt", Path: "/proc/user_beancounters", Volatile: true},
		{Name: "vz-container.conf", Path: "/etc/vz/conf/" + id + ".conf"},
		{Name: "vzctl.log", Path: global["LOGFILE"], Tail: lxcLogTail},
		{Name: "vz.conf", Path: "/etc/vz/vz.conf"},
	})
}

// there keeps the files of the host that are there, and puts them below the root. Those of another host are asked for by
// commands, whether they are there or not.
func (h *vzHost) there(files []Source) []Source {
	if h.far() {
		return files
	}
	kept := files[:0]
	for _, s := range files {
		s.Path = h.file(s.Path)
		if _, err := os.Stat(s.Path); err == nil {
			kept = append(kept, s)
		}
	}
	return kept
}
