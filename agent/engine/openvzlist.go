package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
)

// list asks vzlist once, and once more where a quote that it does not escape makes its JSON invalid. A container whose
// private area is missing is not in it: it is defined still, hence missing (FACTS §0.3).
func (o openvz) list(ctx context.Context, _ []health.Ref) (Listing, error) {
	rows, hung, err := o.rows(ctx)
	if err != nil {
		return Listing{Notes: o.notes.take()}, err
	}
	global, counters := o.global(), o.beancounters()
	listed := map[string]bool{}
	out := Listing{Degraded: hung}
	for _, r := range rows {
		id := string(*r.ID)
		if checkVZNumber(id) != nil || listed[id] {
			o.notes.add("vzlist printed the container %q, which is no number or came twice: not watched", tidy(id))
			continue
		}
		listed[id] = true
		out.Containers = append(out.Containers, o.sighting(id, r, global, counters[id]))
	}
	o.forget(listed)
	slices.SortFunc(out.Containers, func(a, b health.Sighting) int { return strings.Compare(a.Ref.ID, b.Ref.ID) })
	out.Notes = o.notes.take()
	return out, nil
}

// rows asks for all containers. hung names one that hangs vzlist.
func (o openvz) rows(ctx context.Context) (rows []vzRow, hung string, err error) {
	rows, hung, t, err := o.allRows(ctx, openvzFields)
	switch {
	case err == nil:
		return rows, hung, nil
	case errors.Is(err, errVZBroken) && o.empty(string(t.Stderr)):
		return nil, "", nil
	case errors.Is(err, errVZBroken):
		return nil, "", fmt.Errorf("%w: %s", err, tidy(string(t.Stderr)))
	case !errors.Is(err, errVZJSON):
		return nil, "", err
	}
	o.notes.add("vzlist printed invalid JSON, as it does when a name or path holds a quote: its table is read instead (%v)", err)
	rows, err = o.table(ctx)
	return rows, "", err
}

// table asks for all containers in the other form that vzlist has.
func (o openvz) table(ctx context.Context) ([]vzRow, error) {
	t, err := o.ask(ctx, o.argv("vzlist", "-a", "-H", "-t", "-o", openvzTable))
	if err != nil {
		return nil, err
	}
	rows, err := parseVZTable(t.Stdout)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		o.fill(&rows[i])
	}
	return rows, nil
}

// empty tells a host that has no containers, which prints nothing either: vzlist says so, says nothing else, and there are
// no configurations (kolyshkin/vzctl src/vzlist.c collect and main).
func (o openvz) empty(said string) bool {
	if strings.TrimSpace(said) != "Container(s) not found" {
		return false
	}
	if o.far() {
		return true
	}
	if _, err := os.ReadDir(o.file("/etc/vz/conf")); err != nil {
		return false
	}
	confs, _ := filepath.Glob(o.file("/etc/vz/conf/[1-9]*.conf"))
	return len(confs) == 0
}

// fill takes from a container's configuration what the table leaves out.
func (o openvz) fill(r *vzRow) {
	c := o.conf(string(*r.ID))
	r.Name, r.OnBoot = looseString(c.keys["NAME"]), looseString(c.keys["ONBOOT"])
	r.Disabled = looseBool(vzTri(c.keys["DISABLED"]) == health.Yes)
}

// look asks vzlist for one container. One whose init is known to have ended is known from files: that is the way from a
// death to its healing.
func (o openvz) look(ctx context.Context, id string, dead health.Process) (health.Sighting, error) {
	if s, ok := o.lookDead(id, dead); ok {
		return s, nil
	}
	rows, t, err := o.vzlist(ctx, o.spec.Timeout, openvzFields, id)
	switch {
	case errors.Is(err, errVZJSON):
		return o.lookList(ctx, id)
	case errors.Is(err, errVZBroken):
		return health.Sighting{}, fmt.Errorf("%w: %s", err, tidy(string(t.Stderr)))
	case vzNotFound(t):
		return o.absent(id), nil
	case err != nil:
		return health.Sighting{}, err
	}
	for _, r := range rows {
		if string(*r.ID) == id {
			return o.fromAfar(ctx, o.sighting(id, r, o.global(), o.beancounters()[id])), nil
		}
	}
	return o.absent(id), nil
}

// lookList finds one container in the list, by the fallback where it must.
func (o openvz) lookList(ctx context.Context, id string) (health.Sighting, error) {
	l, err := o.list(ctx, nil)
	if err != nil {
		return health.Sighting{}, err
	}
	for _, s := range l.Containers {
		if s.Ref.ID == id {
			return o.fromAfar(ctx, s), nil
		}
	}
	return o.absent(id), nil
}

// lookDead answers where no process is needed: the init ended, no other is on record, nobody holds the lock, the private
// area is there, and there is no dump to which a suspend has put it away.
func (o openvz) lookDead(id string, dead health.Process) (health.Sighting, bool) {
	if dead.PID == 0 || alive(dead) || !o.vzHost.defined(id) {
		return health.Sighting{}, false
	}
	global := o.global()
	p, left := o.init(id)
	_, noDump := os.Stat(o.file(filepath.Join(global["DUMPDIR"], "Dump."+id)))
	if p.PID != 0 || left != dead.PID || o.area(id, global).mark == "" || noDump == nil || o.lock(id, id, global) != nil {
		return health.Sighting{}, false
	}
	o.mu.Lock()
	doubted := o.stuck[id]
	o.mu.Unlock()
	if doubted {
		return health.Sighting{}, false
	}
	id2 := looseString(id)
	r := vzRow{ID: &id2, Status: "mounted"}
	o.fill(&r)
	r.IP = strings.Fields(o.conf(id).keys["IP_ADDRESS"])
	s := o.sighting(id, r, global, nil)
	s.Detail = fmt.Sprintf("init %d has ended", dead.PID)
	return s, true
}

// absent is a container that vzlist does not show. What is destroyed or moved away has neither configuration nor private
// area; one that lost only one of them is missing.
func (o openvz) absent(id string) health.Sighting {
	s := health.Sighting{Ref: o.ref(id), Name: id, State: health.Removed, At: time.Now()}
	conf, area := o.vzHost.defined(id), o.area(id, o.global()).mark != ""
	switch {
	case conf && area:
		s.State, s.Detail = health.Missing, "its configuration is there, and vzlist does not show it"
	case conf:
		s.State, s.Detail = health.Missing, "its configuration is there, its private area "+o.private(id, o.global())+" is not"
	case area:
		s.State, s.Detail = health.Missing, "its private area is there, its configuration "+o.confPath(id)+" is not"
	}
	return s
}

// defined holds while anything of a container is there that a removal would have taken.
func (o openvz) defined(id string) bool {
	return o.vzHost.defined(id) || o.area(id, o.global()).mark != ""
}

// sighting puts together what vzlist and the host's files tell.
func (o openvz) sighting(id string, r vzRow, global map[string]string, counters map[string]uint64) health.Sighting {
	c := o.conf(id)
	if r.silent != "" {
		return o.unheard(id, c.keys["NAME"], r.silent)
	}
	s := health.Sighting{
		Ref: o.ref(id), Name: tidy(string(r.Name)), Mark: o.area(id, global).mark,
		Autostart: vzTri(string(r.OnBoot)), Config: c.mark, Lock: o.lock(id, id, global), Addrs: vzAddrs(r.IP), Links: vzLinks(c.keys), At: time.Now(),
	}
	if s.Name == "" {
		s.Name = id
	}
	var known bool
	if s.State, s.Detail, known = vzState(string(r.Status)); !known {
		o.notes.add("container %s: %s", id, s.Detail)
	}
	if s.State == health.Running {
		o.runs(&s, id, counters)
		return s
	}
	o.truthful(id)
	s.Addrs = nil // of one that does not run, they are those of its configuration
	if s.State == health.Stopped {
		s.OnPurpose = o.purpose(id, id, global)
		if r.Disabled {
			s.Autostart, s.OnPurpose = health.No, "its start is disabled (DISABLED=yes)"
		}
	}
	return s
}

// runs fills in what there is of a running container.
func (h *vzHost) runs(s *health.Sighting, id string, counters map[string]uint64) {
	p, left := h.init(id)
	if left != 0 {
		s.State, s.Detail = h.lied(id, left, s.At)
		return
	}
	h.truthful(id)
	h.sawRunning(id, s.At)
	s.Init = p
	s.Detail = h.refused(id, p, counters)
}
