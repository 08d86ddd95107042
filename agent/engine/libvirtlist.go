package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// A list is one process: five questions to one virsh. A second one asks about those of whom something changed, and none of
// the others: with 50 running containers the list costs virsh and the daemon 34 ms of CPU, asking the reason of all of
// them 30 ms more, their definitions and addresses 50 ms more (measured with 9.0). The reason of a domain that is off and
// stays off cannot change without an event of libvirt, which marks it, or a life in between.

// virtChunk is how many domains one process is asked about: a command line may hold 128 KiB in one word.
const virtChunk = 200

// virtDomain is what is remembered of one domain. Guarded by libvirt.mu.
type virtDomain struct {
	uuid, name string
	said       virtSaid
	init       health.Process // the init of a container, the process of a VM
	lied       time.Time      // since when libvirt and the host have said different things
	autostart  bool
	saved      bool // a managed save is there: a start continues from it
	transient  bool
	job        virtJob
	occupied   bool       // somebody waits for an answer of its monitor
	ending     virtEnding // of its last life, by its log
	disks      string     // what is wrong with its disks
	file       string     // mark of its definition's file
	conf       virtConf
	addrs      []health.Addr
	asked      time.Time // when all of this was last asked
	born       time.Time // when this life was first seen
	dirty      bool      // something happened to it
	own        bool      // we ended the life ownLife
	ownLife    string
	ownOver    bool // and that was seen
}

// life tells one life from another.
func (d *virtDomain) life() string {
	return fmt.Sprintf("%s %d %d", d.said.domid, d.init.PID, d.init.Start)
}

// virtSnapshot is the answer of the five questions.
type virtSnapshot struct {
	names                       []virtNamed
	said                        map[string]virtSaid // by name
	autostart, saved, transient map[string]bool     // by UUID
}

func (l *libvirt) list(ctx context.Context, _ []health.Ref) (Listing, error) {
	if l.stillSlow(ctx) {
		return l.listSlowly(ctx, false)
	}
	snap, err := l.snapshot(ctx)
	switch {
	case errors.Is(err, errVirtSilent):
		return l.listSlowly(ctx, true)
	case err != nil:
		return Listing{Notes: l.notes.take()}, err
	}
	if err := l.detail(ctx, l.learnAll(snap)); errors.Is(err, errVirtSilent) {
		return l.listSlowly(ctx, true)
	} else if err != nil {
		return Listing{Notes: l.notes.take()}, err
	}
	var all []string
	for _, n := range snap.names {
		all = append(all, n.uuid)
	}
	return l.listing(all), nil
}

// learnAll takes in a list, and gives those of whom more must be asked.
func (l *libvirt) learnAll(snap virtSnapshot) (ask []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := map[string]bool{}
	for _, n := range snap.names {
		seen[n.uuid] = true
		if l.learn(n, snap) {
			ask = append(ask, n.uuid)
		}
	}
	maps.DeleteFunc(l.known, func(uuid string, _ *virtDomain) bool { return !seen[uuid] })
	return ask
}

// listing tells what is known of these now.
func (l *libvirt) listing(uuids []string) Listing {
	var out Listing
	for _, uuid := range uuids {
		if s, ok := l.sighting(uuid, false); ok {
			out.Containers = append(out.Containers, s)
		}
	}
	slices.SortFunc(out.Containers, func(a, b health.Sighting) int { return strings.Compare(a.Ref.ID, b.Ref.ID) })
	out.Notes = l.notes.take()
	return out
}

// snapshot asks for all domains. The states are asked first: what is made or removed meanwhile is told by the names.
func (l *libvirt) snapshot(ctx context.Context) (virtSnapshot, error) {
	states := "domstats --state --nowait"
	l.mu.Lock()
	tables := l.tables
	l.mu.Unlock()
	if tables {
		states = "list --all"
	}
	cmds := []string{states, "list --all --uuid --name", "list --all --autostart --uuid", "list --all --with-managed-save --uuid", "list --all --transient --uuid"}
	items, said, err := l.batch(ctx, cmds, l.spec.Timeout)
	if err == nil && len(said) > 0 {
		if !tables && strings.Contains(said[0], "virConnectGetAllDomainStats") {
			l.mu.Lock()
			l.tables = true
			l.mu.Unlock()
			return l.snapshot(ctx)
		}
		err = errors.New("virsh: " + strings.Join(said, ": "))
	}
	if err != nil {
		return virtSnapshot{}, err
	}
	return parseVirtSnapshot(items, tables)
}

func parseVirtSnapshot(items []string, tables bool) (s virtSnapshot, err error) {
	if s.names, err = parseVirtNames(items[1]); err != nil {
		return s, err
	}
	if tables {
		s.said, err = parseVirtTable(items[0], s.names)
	} else {
		s.said, err = parseVirtStats(items[0])
	}
	for i, set := range []*map[string]bool{&s.autostart, &s.saved, &s.transient} {
		var err2 error
		*set, err2 = parseVirtUUIDs(items[2+i])
		err = errors.Join(err, err2)
	}
	return s, err
}

// batch gives several commands to one virsh. said are the errors that it told, of whichever command.
func (l *libvirt) batch(ctx context.Context, cmds []string, within time.Duration) (items, said []string, err error) {
	argv := l.virsh(virtScript(cmds))
	t := l.run.Read(ctx, hostexec.Command{Argv: argv, Env: l.spec.Env, Timeout: within, MaxOut: maxList})
	said = virtErrors(t.Stderr)
	if err := t.Err(); err != nil {
		if len(said) > 0 {
			return nil, said, fmt.Errorf("virsh -c %s: %s", l.uri, strings.Join(said, ": "))
		}
		if hint := l.daemonHint(); t.TimedOut && hint != "" {
			return nil, said, fmt.Errorf("virsh -c %s: %s: %s", l.uri, t.Failure, hint)
		}
		if t.TimedOut {
			return nil, said, fmt.Errorf("virsh -c %s: %w: %s", l.uri, errVirtSilent, t.Failure)
		}
		return nil, said, err
	}
	items, ok := virtItems(t.Stdout, len(cmds))
	if ok && t.StdoutSize <= int64(len(t.Stdout)) {
		return items, said, nil
	}
	if len(said) > 0 {
		return nil, said, fmt.Errorf("virsh -c %s: %s", l.uri, strings.Join(said, ": "))
	}
	return nil, said, fmt.Errorf("virsh -c %s: its answer of %d bytes is cut or garbled: not believed", l.uri, t.StdoutSize)
}

// learn takes in what a list says about one domain, and tells whether more must be asked. The caller holds mu.
func (l *libvirt) learn(n virtNamed, snap virtSnapshot) (more bool) {
	d := l.known[n.uuid]
	if d == nil || d.name != n.name {
		d = &virtDomain{uuid: n.uuid, name: n.name, dirty: true}
		l.known[n.uuid] = d
	}
	said, before := snap.said[n.name], d.life()
	more = d.dirty || d.job.operation != "" || said.state != d.said.state || said.domid != d.said.domid || said.reason != "" && said.reason != d.said.reason
	if said.reason == "" && !more {
		said.reason = d.said.reason
	}
	d.said = said
	d.autostart, d.saved, d.transient = snap.autostart[n.uuid], snap.saved[n.uuid], snap.transient[n.uuid]
	l.host(d)
	if d.life() != before {
		d.born, d.addrs, more = time.Now(), nil, true
	}
	if file := l.fileMark(n.name); file != d.file {
		d.file, more = file, true
	}
	d.dirty = more
	return more || l.stale(d)
}

// stale tells that what no event tells of must be asked again: addresses, and the definition where its file is not seen.
// The caller holds mu.
func (l *libvirt) stale(d *virtDomain) bool {
	runs := d.said.state == "running"
	fresh := runs && len(d.addrs) == 0 && len(d.conf.macs) > 0 && time.Since(d.born) < 2*time.Minute // its guest may just be asking for one
	return fresh || (runs || !l.local) && time.Since(d.asked) > l.spec.Quiet
}

// questions are what one domain is asked about: its state and reason, addresses, definition, and its monitor. It is not asked
// for addresses of the source "arp": which MAC has which is read from the host's own table, once for all, and libvirt 9.0
// fails to read that ("internal error: wrong nlmsg len", on a kernel 6.18).
func (l *libvirt) questions(uuid string) []string {
	ask := []string{"domstate --reason " + uuid, "domifaddr --source lease " + uuid, "dumpxml --inactive " + uuid, "echo"}
	if l.driver != "lxc" { // which has none
		ask[3] = "domcontrol " + uuid
	}
	return ask
}

// detail asks, in as few processes as hold them, about domains of whom something changed. Errors are expected among the
// answers: what is off has no addresses, and one may have been removed.
func (l *libvirt) detail(ctx context.Context, uuids []string) error {
	for chunk := range slices.Chunk(uuids, virtChunk) {
		var cmds []string
		for _, uuid := range chunk {
			cmds = append(cmds, l.questions(uuid)...)
		}
		items, _, err := l.batch(ctx, cmds, l.spec.Timeout)
		if err != nil {
			return err
		}
		near := l.neighbours(ctx)
		l.mu.Lock()
		n := len(cmds) / len(chunk)
		for i, uuid := range chunk {
			if d := l.known[uuid]; d != nil {
				l.digest(d, items[i*n:(i+1)*n], near)
			}
		}
		l.mu.Unlock()
		l.askJobs(ctx, chunk, false)
	}
	return nil
}

// askJobs asks what is under way with these, or, unless all is set, with those of them of whom something was known to be: to
// see its end. The question waits for whoever asks a monitor that hangs (30 s, virDomainObjBeginJob), so it is asked by itself,
// and not of those.
func (l *libvirt) askJobs(ctx context.Context, uuids []string, all bool) {
	var ask, cmds []string
	l.mu.Lock()
	for _, uuid := range uuids {
		if d := l.known[uuid]; d != nil && l.driver != "lxc" && !d.occupied && d.said.state != "shut off" && (all || d.job.operation != "") {
			ask, cmds = append(ask, uuid), append(cmds, "domjobinfo "+uuid)
		} else if d != nil && d.said.state == "shut off" {
			d.job = virtJob{}
		}
	}
	l.mu.Unlock()
	if len(ask) == 0 {
		return
	}
	items, _, err := l.batch(ctx, cmds, slowWithin)
	if err != nil {
		return // what was known stays so
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, uuid := range ask {
		if d := l.known[uuid]; d != nil {
			d.job = d.job.now(parseVirtJob(items[i], time.Now()))
		}
	}
}

// digest takes in the answers to questions about one domain. The caller holds mu.
func (l *libvirt) digest(d *virtDomain, items []string, near map[string][]health.Addr) {
	state, reason, ok := parseVirtReason(items[0])
	if !ok {
		d.said, d.dirty = virtSaid{domid: d.said.domid}, true
		return
	}
	d.said.state, d.said.reason = state, reason
	d.dirty, d.asked, d.ending = false, time.Now(), l.lastWords(d)
	if conf, err := parseVirtXML(items[2]); err == nil {
		d.conf = conf
		d.conf.links = l.links(conf)
	} else if strings.TrimSpace(items[2]) != "" {
		l.notes.add("the definition of %q cannot be read: %v", d.name, err)
	}
	d.occupied = strings.HasPrefix(items[3], "occupied")
	addrs := parseVirtAddrs(items[1])
	for _, mac := range d.conf.macs {
		addrs = append(addrs, near[mac]...)
	}
	if len(addrs) > 0 {
		d.addrs = uniqueAddrs(addrs)
	}
}

func uniqueAddrs(addrs []health.Addr) []health.Addr {
	var out []health.Addr
	for _, a := range addrs {
		if !slices.ContainsFunc(out, func(b health.Addr) bool { return a.Prefix.Addr() == b.Prefix.Addr() }) {
			out = append(out, a)
		}
	}
	return out
}
