package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// list asks prlctl once. Where the dispatcher does not answer, vzlist is asked: containers run on without it (FACTS §2).
func (v *virtuozzo) list(ctx context.Context, _ []health.Ref) (Listing, error) {
	t, err := v.askPrl(ctx, "list", "-a", "-j", "-o", prlFields)
	if prlDeaf(ctx, t) {
		return v.listWithout(ctx, t)
	}
	if err != nil {
		return Listing{Notes: v.notes.take()}, err
	}
	rows, err := parsePrlList(t.Stdout)
	if err != nil {
		return Listing{Notes: v.notes.take()}, err
	}
	v.learn(rows, false)
	files := v.files()
	var out Listing
	for _, r := range rows {
		out.Containers = append(out.Containers, v.sighting(r, files, prlState))
	}
	return v.finishList(out), nil
}

func (v *virtuozzo) finishList(out Listing) Listing {
	listed := map[string]bool{}
	kept := out.Containers[:0]
	for _, s := range out.Containers {
		if checkUUID(s.Ref.ID) != nil || listed[s.Ref.ID] {
			v.notes.add("%q was listed, which is no UUID or came twice: not watched", tidy(s.Ref.ID))
			continue
		}
		listed[s.Ref.ID] = true
		kept = append(kept, s)
	}
	slices.SortFunc(kept, func(a, b health.Sighting) int { return strings.Compare(a.Ref.ID, b.Ref.ID) })
	out.Containers, out.Notes = kept, append(out.Notes, v.notes.take()...)
	return out
}

// deafWithin is how long prlctl is given once the dispatcher did not answer.
const deafWithin = 3 * time.Second

// askPrl asks prlctl, and waits no longer than it must for a dispatcher that hangs.
func (v *virtuozzo) askPrl(ctx context.Context, args ...string) (hostexec.Transcript, error) {
	within := v.spec.Timeout
	if v.deaf() {
		within = min(within, deafWithin)
	}
	return v.askWithin(ctx, v.argv("prlctl", args...), within)
}

// prlDeaf tells that prlctl reached no dispatcher: 253 none there, 254 frozen, and one that hangs has prlctl hang.
func prlDeaf(ctx context.Context, t hostexec.Transcript) bool {
	return t.Exit == 253 || t.Exit == 254 || t.TimedOut && ctx.Err() == nil
}

func (v *virtuozzo) deaf() bool {
	v.known.Lock()
	defer v.known.Unlock()
	return v.known.deaf
}

// learn remembers who is who. Without a dispatcher nothing is forgotten: VMs are not listed then.
func (v *virtuozzo) learn(rows []prlRow, deaf bool) {
	v.known.Lock()
	if v.known.deaf && !deaf && v.known.heard != nil {
		close(v.known.heard)
		v.known.heard = nil
	}
	v.known.deaf = deaf
	envs := map[string]bool{}
	if !deaf {
		clear(v.known.rows)
		for _, r := range rows {
			v.known.rows[r.id()] = r
			envs[r.env()] = true
		}
		for id := range v.known.downs {
			if _, ok := v.known.rows[id]; !ok {
				delete(v.known.downs, id)
				delete(v.known.foreign, id)
				delete(v.known.auto, id)
			}
		}
	}
	v.known.Unlock()
	if !deaf {
		v.forget(envs)
	}
}

// listWithout lists containers by vzlist; VMs that are known, or have a folder, are unknown for the time being, which is
// not missing.
func (v *virtuozzo) listWithout(ctx context.Context, deaf hostexec.Transcript) (Listing, error) {
	why := deaf.Err()
	rows, hung, _, err := v.allRows(ctx, vz7Fields)
	if err != nil {
		return Listing{Notes: v.notes.take()}, errors.Join(why, err)
	}
	v.learn(nil, true)
	files := v.files()
	out := Listing{Degraded: fmt.Sprintf("the dispatcher does not answer (%v): containers are listed by vzlist, VMs are not known", why)}
	if hung != "" {
		out.Degraded += "; " + hung
	}
	for _, r := range rows {
		out.Containers = append(out.Containers, v.sighting(v.fromVZ(r), files, vzState))
	}
	for _, id := range v.vms() {
		out.Containers = append(out.Containers, health.Sighting{
			Ref: v.ref(id), Name: v.nameOf(id), Mark: id, State: health.Unknown, Detail: "the dispatcher does not answer", At: time.Now(),
		})
	}
	return v.finishList(out), nil
}

// vz7Fields are those that vzlist of vzctl 7 is asked for: not ip, which may ask the container (FACTS §2).
const vz7Fields = "ctid,name,status,configured_ip,ha_enable"

// fromVZ makes a row of prlctl of one of vzlist.
func (v *virtuozzo) fromVZ(r vzRow) prlRow {
	env := string(*r.ID)
	id := v.idOf(env)
	if !vzUUIDRE.MatchString(id) {
		id = strings.Trim(v.conf(env).keys["UUID"], "{}") // an EnvID of old, and an agent that has never seen the dispatcher
	}
	return prlRow{UUID: looseString(id), EnvID: looseString(env), Status: r.Status, Type: "CT", HA: r.HA, Name: r.Name, IP: r.Config, silent: r.silent}
}

func (v *virtuozzo) vms() []string {
	found := map[string]bool{}
	v.known.Lock()
	for id, r := range v.known.rows {
		if r.Type == "VM" {
			found[id] = true
		}
	}
	v.known.Unlock()
	dirs, _ := filepath.Glob(v.vmDir("*"))
	for _, d := range dirs {
		if id := filepath.Base(d); vzUUIDRE.MatchString(id) {
			found[id] = true
		}
	}
	return sortedKeys(found)
}

func (v *virtuozzo) nameOf(id string) string {
	v.known.Lock()
	defer v.known.Unlock()
	if n := tidy(string(v.known.rows[id].Name)); n != "" && n != "-" {
		return n
	}
	return id
}

// look asks for one. Of a VM all is asked, since only that tells whether it starts with the host.
func (v *virtuozzo) look(ctx context.Context, id string, dead health.Process) (health.Sighting, error) {
	if s, ok := v.lookDead(id, dead); ok {
		return s, nil
	}
	vm := v.isVM(id) || v.far() // there, its configuration cannot be read here
	args := []string{"list", "-a", "-j", "-o", prlFields, id}
	if vm {
		args = []string{"list", "-i", "-j", id}
	}
	t, err := v.askPrl(ctx, args...)
	switch {
	case prlDeaf(ctx, t) && !v.isVM(id):
		return v.lookWithout(ctx, id, t)
	case err != nil && strings.Contains(string(t.Stderr), "Failed to get VM config"):
		return v.absent(id), nil
	case err != nil:
		return health.Sighting{}, err
	case vm:
		return v.lookVM(id, t.Stdout)
	}
	rows, err := parsePrlList(t.Stdout)
	if err != nil {
		return health.Sighting{}, err
	}
	for _, r := range rows {
		if strings.EqualFold(r.id(), id) {
			return v.sighting(r, v.files(), prlState), nil
		}
	}
	return v.perhapsTemplate(ctx, id), nil
}

// perhapsTemplate is a container that the list does not show: it leaves templates out.
func (v *virtuozzo) perhapsTemplate(ctx context.Context, id string) health.Sighting {
	s := v.absent(id)
	if s.State != health.Missing {
		return s
	}
	t, err := v.askPrl(ctx, "list", "-i", "-j", id)
	if info, bad := parsePrlInfo(t.Stdout); err == nil && bad == nil && bool(info.Template) {
		s.State, s.Detail = health.Busy, vzTemplate
	}
	return s
}

// vzTemplate is what nobody starts.
const vzTemplate = "it is a template now"

func (v *virtuozzo) lookVM(id string, out []byte) (health.Sighting, error) {
	info, err := parsePrlInfo(out)
	if err != nil {
		return health.Sighting{}, err
	}
	v.known.Lock()
	v.known.auto[id] = vzTri(string(info.Autostart))
	r := v.known.rows[id]
	v.known.Unlock()
	r.Status, r.UUID, r.EnvID, r.Name, r.Type = info.State, info.ID, info.EnvID, info.Name, info.Type
	s := v.sighting(r, v.files(), prlState)
	if info.Template {
		s.State, s.Detail = health.Busy, vzTemplate
	}
	return s, nil
}

// lookWithout asks vzlist for one container.
func (v *virtuozzo) lookWithout(ctx context.Context, id string, deaf hostexec.Transcript) (health.Sighting, error) {
	why := deaf.Err()
	rows, t, err := v.vzlist(ctx, v.spec.Timeout, vz7Fields, v.envOf(id))
	if vzNotFound(t) {
		return v.absent(id), nil
	}
	if err != nil {
		return health.Sighting{}, errors.Join(why, err)
	}
	v.learn(nil, true)
	for _, r := range rows {
		if row := v.fromVZ(r); row.id() == id {
			return v.sighting(row, v.files(), vzState), nil
		}
	}
	return v.absent(id), nil
}

func (v *virtuozzo) absent(id string) health.Sighting {
	s := health.Sighting{Ref: v.ref(id), Name: v.nameOf(id), State: health.Removed, At: time.Now()}
	if v.defined(id) {
		s.State, s.Detail = health.Missing, "its files are there, and the dispatcher does not know it"
	}
	return s
}

// lookDead answers from files where they leave no doubt: its init ended, no other is on record, its mark .running says that
// nobody stopped it, and nobody holds its lock. The dispatcher takes its time, and may not answer at all.
func (v *virtuozzo) lookDead(id string, dead health.Process) (health.Sighting, bool) {
	v.known.Lock()
	r, known := v.known.rows[id]
	v.known.Unlock()
	if dead.PID == 0 || alive(dead) || !known || r.Type == "VM" {
		return health.Sighting{}, false
	}
	files := vz7Files{global: v.global()}
	p, left := v.init(r.env())
	if p.PID != 0 || left != dead.PID || !v.area(r.env(), files.global).running || v.lock(r.env(), id, files.global) != nil {
		return health.Sighting{}, false
	}
	r.Status = "stopped"
	s := v.sighting(r, files, prlState)
	if s.State != health.Stopped {
		return health.Sighting{}, false
	}
	s.Detail = fmt.Sprintf("init %d has ended", dead.PID)
	return s, true
}
