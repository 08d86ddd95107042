package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// Virtuozzo 7 and OpenVZ 7: prlctl asks the dispatcher, vzctl 7 works without it. Containers and VMs are UUIDs; the files of
// a container are named by its EnvID, which is the same unless it is older.
//
// Its kernel is 3.10, without pidfd and with the first version of cgroups: the caller is told the pids of inits and notices
// their deaths as well as that kernel lets it.

// virtuozzo is the one installation of it that a host can have.
type virtuozzo struct {
	*vzHost

	known struct {
		sync.Mutex
		rows    map[string]prlRow     // by id, as last listed
		downs   map[string]vz7Down    // by id
		foreign map[string]bool       // another node owns it (exit 141)
		auto    map[string]health.Tri // of VMs, as last looked at
		deaf    bool                  // the dispatcher did not answer the last list
		heard   chan struct{}         // closed when it answers again; nil: nobody waits for that
	}
}

// vz7Down is how a container came to be down, judged at the first sight of it: the vendor's own clean-up changes the traces
// some moments later.
type vz7Down struct {
	ran    time.Time // when it was last seen running; zero: never
	judged bool
	reason string
}

func openVirtuozzo(s Spec, r Runner) (*tool, error) {
	if err := plainSpec(s); err != nil {
		return nil, err
	}
	v := &virtuozzo{vzHost: newVZHost(s, r, "/var/run/ve/$VEID.init.pid")} // OpenVZ/libvzctl lib/util.c get_init_pid_path; xemul/p.haul p_haul_vz.py
	v.known.rows, v.known.downs, v.known.foreign, v.known.auto = map[string]prlRow{}, map[string]vz7Down{}, map[string]bool{}, map[string]health.Tri{}
	v.keyOf = v.idOf
	read := v.read(v.readAnswer)
	blind := []string{
		"Whether a VM starts with the host is known only after it was looked at: the list does not tell.",
		"The process of a VM is not known: its deaths are noticed by the dispatcher's events and by polling.",
		"A backup that failed leaves no record that prlctl tells of: the last one it knows is the last that succeeded.",
		"After a backup that failed the dispatcher keeps the container's lock, and it looks held until that is restarted.",
	}
	if s.far() {
		blind = append(blind, "Locks, the mark .running and the vendor's HA (shaman) are not seen: what they forbid, vzctl itself must refuse.")
	}
	return &tool{
		facts: facts{intent: "ONBOOT, autostart of a VM", stopped: "the mark .running, vzctl.log", lock: "the lock file and its second line; transitional states", cause: "the words of prlctl, the exit code of vzctl", supervisor: "shaman, another node of the cluster"},
		verbs: map[health.Verb]verb{
			health.VerbStart: {argv: v.either("start"), limit: 5 * time.Minute, slack: 10 * time.Second, read: read},
			// The dispatcher shuts down for 120 s (OpenVZ/prlctl src/PrlVm.cpp VM_SHUTDOWN_TIMEOUT), vzctl below it as long.
			health.VerbStop:    {argv: v.either("stop"), limit: 3 * time.Minute, slack: 30 * time.Second, read: read},
			health.VerbKill:    {argv: v.either("stop", "--kill"), limit: 2 * time.Minute, slack: 10 * time.Second, read: read},
			health.VerbRestart: {argv: v.either("restart"), limit: 8 * time.Minute, slack: 30 * time.Second, read: read},
			// What a death left mounted, where the vendor's own clean-up did not get to it.
			health.VerbRepair: {argv: v.either("umount"), limit: 2 * time.Minute, slack: 10 * time.Second, read: read},
			health.VerbBackup: {argv: v.backup, limit: 6 * time.Hour, slack: 30 * time.Second, read: read},
		},
		checkID: checkUUID, list: v.list, look: v.look, defined: v.defined, place: openvz{v.vzHost}.place, exec: v.exec,
		meaning: v.meaning, files: vzFiles("prlctl", "vzctl", "pmigrate", "vzmigrate"), evidence: v.evidence,
		hint: func(id string) string { return v.hint(v.envOf(id)) }, lastBackup: v.lastBackup,
		events: v.events, version: v.argv("prlctl", "--version"), units: []string{"vz.service", "prl-disp.service"}, autostarter: "prl-disp.service",
		blind: blind,
	}, nil
}

// discoverVirtuozzo finds prlctl with vzctl. It starts nothing.
func discoverVirtuozzo(context.Context, Runner) []Spec {
	if !installed("prlctl") || !installed("vzlist") {
		return nil
	}
	return []Spec{{Engine: "virtuozzo"}}
}

func checkUUID(id string) error {
	if !vzUUIDRE.MatchString(id) {
		return fmt.Errorf("container %.40q: Virtuozzo knows containers by UUID", id)
	}
	return nil
}

// envOf is what a container's files are named by; idOf the way back, of an EnvID or UUID with or without braces.
func (v *virtuozzo) envOf(id string) string {
	v.known.Lock()
	defer v.known.Unlock()
	if r, ok := v.known.rows[id]; ok {
		return r.env()
	}
	return id
}

func (v *virtuozzo) idOf(word string) string {
	word = strings.Trim(word, "{}")
	v.known.Lock()
	defer v.known.Unlock()
	if _, ok := v.known.rows[word]; ok {
		return word
	}
	for id, r := range v.known.rows {
		if r.env() == word || string(r.Name) == word && r.Name != "" || strings.EqualFold(id, word) {
			return id
		}
	}
	return word
}

func (v *virtuozzo) isVM(id string) bool {
	v.known.Lock()
	defer v.known.Unlock()
	return v.known.rows[id].Type == "VM"
}

// vmDir is where a VM lives; nobody lists VMs while the dispatcher does not answer.
func (v *virtuozzo) vmDir(id string) string { return v.file("/vz/vmprivate/" + id) }

func (v *virtuozzo) defined(id string) bool {
	_, err := os.Stat(v.vmDir(id))
	return err == nil || v.vzHost.defined(v.envOf(id))
}

// either gives a command line of prlctl, or of vzctl where the dispatcher does not answer: containers live without it.
func (v *virtuozzo) either(verb string, more ...string) func(call) ([]string, error) {
	ends := verb == "stop" || verb == "restart"
	return func(c call) ([]string, error) {
		v.begin(c.id, ends)
		if !v.deaf() || v.isVM(c.id) {
			return v.argv("prlctl", append([]string{verb, c.id}, more...)...), nil
		}
		if len(more) > 0 {
			return v.argv("vzctl", verb, v.envOf(c.id), "--fast"), nil // vzctl's word for --kill
		}
		return v.argv("vzctl", verb, v.envOf(c.id)), nil
	}
}

// readAnswer reads the words of either tool, and remembers whom another node owns.
func (v *virtuozzo) readAnswer(t hostexec.Transcript, log []byte) Answer {
	if len(t.Argv) == 0 || filepath.Base(t.Argv[0]) != "vzctl" {
		return readPrlAnswer(t, log)
	}
	if t.Exit == 141 {
		id := v.idOf(subject(t.Argv))
		v.known.Lock()
		v.known.foreign[id] = true
		v.known.Unlock()
	}
	return readVZAnswer(vz7Codes())(t, log)
}

// exec of a container goes through vzctl, which gives the command's own exit code and needs no dispatcher; of a VM through
// its guest tools.
func (v *virtuozzo) exec(id string, argv []string) ([]string, error) {
	if v.isVM(id) {
		return append(v.argv("prlctl", "exec", id), argv...), nil
	}
	return v.argv("vzctl", "--quiet", "exec2", v.envOf(id), quoteShell(argv)), nil
}

func (v *virtuozzo) meaning(argv []string) (string, health.Verb, bool) {
	return vzMeaning(argv, func(word string) string {
		if id := v.idOf(word); vzUUIDRE.MatchString(id) {
			return id
		}
		return ""
	})
}

func (v *virtuozzo) evidence(id string, _ health.Sighting) []Source {
	out := []Source{{Name: "prlctl-info.json", Argv: v.argv("prlctl", "list", "-i", "-j", id), Volatile: true}}
	if !v.isVM(id) {
		out = append(out, v.vzEvidence(v.envOf(id), v.global())...)
	}
	// Those that the vendor's own problem report gathers (OpenVZ/prl-disp-service CDspProblemReportHelper.cpp).
	var logs []Source
	for _, log := range []string{"prl-disp.log", "ploop.log", "pcompact.log", "shaman.log", "pdrs.log"} {
		logs = append(logs, Source{Name: log, Path: "/var/log/" + log, Tail: lxcLogTail})
	}
	return append(out, v.there(logs)...)
}

// events follows the dispatcher. Its monitor ends when its standard input does.
func (v *virtuozzo) events(ctx context.Context, changed func(id string)) error {
	// Whether the monitor outlives its dispatcher is not known: when that answers again, it is begun anew.
	heard := make(chan struct{})
	v.known.Lock()
	v.known.heard = heard
	v.known.Unlock()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-heard:
			stop()
		case <-ctx.Done():
		}
	}()
	var e prlEvents
	c := hostexec.Command{Argv: v.argv("prlsrvctl", "monitor"), Env: v.spec.Env, Held: true}
	err := v.run.Stream(ctx, c, func(line []byte) error {
		kind, id, whole := e.feed(line)
		switch {
		case !whole:
		case kind == "VM_STATE_CHANGED" || kind == "VM_CONFIG_CHANGED" || kind == "VM_DELETED" || kind == "VM_UNREGISTERED":
			changed(v.idOf(id))
		case kind == "VM_CREATED" || kind == "VM_ADDED" || kind == "":
			changed("")
		case strings.Trim(kind, "0123456789") != "": // a number is an event that it has no word for
			v.notes.add("prlsrvctl monitor tells of %q, which is not known here", tidy(kind))
			changed("")
		}
		return nil
	})
	if err == nil {
		err = errors.New("prlsrvctl monitor ended: is the dispatcher running?")
	}
	return err
}
