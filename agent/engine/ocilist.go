package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"atalaya/agent/health"
)

// The list, and what inspect adds to it.

// list asks the list, and one inspect for what changed.
func (o *oci) list(ctx context.Context, _ []health.Ref) (Listing, error) {
	began := time.Now()
	rows, err := o.listRows(ctx, began)
	if err != nil {
		o.lost(began)
		return Listing{Notes: o.notes.take()}, err
	}
	o.back()
	o.learnPast(ctx)
	return o.listing(rows), nil
}

// listRows asks the list and whatever is to be asked after it.
func (o *oci) listRows(ctx context.Context, began time.Time) ([]ociRow, error) {
	if !o.flag && o.stillSlow(ctx) {
		return o.listEach(ctx)
	}
	t, err := o.ask(ctx, o.argv(o.name, o.ps...))
	if t.TimedOut && !o.flag && ctx.Err() == nil {
		if rows, each := o.listEach(ctx); each == nil && len(rows) > 0 {
			return rows, nil
		}
	}
	if err != nil {
		return nil, err
	}
	rows, err := o.rows(t.Stdout, &o.notes)
	if err != nil {
		return nil, fmt.Errorf("read what %q printed: %w", o.name, err)
	}
	return rows, o.inspectMany(ctx, o.changed(rows, began))
}

// changed takes in the rows and gives the ids that have to be asked about.
func (o *oci) changed(rows []ociRow, now time.Time) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	full := now.Sub(o.full) >= o.spec.Quiet
	if full {
		o.full = now
	}
	listed := make(map[string]bool, len(rows))
	var ask []string
	for _, r := range rows {
		listed[r.id] = true
		e := o.known[r.id]
		if e == nil {
			e = &ociEntry{}
			o.known[r.id] = e
		}
		running := r.state == health.Running || r.state == health.Paused
		if full || o.slow[r.id] || e.print != r.print || r.age < e.age || running && !o.far() && !alive(e.init) {
			e.print = ""
			ask = append(ask, r.id)
		}
		e.row, e.age = r, r.age
	}
	for id := range o.known {
		if !listed[id] {
			delete(o.known, id)
			delete(o.told, id)
		}
	}
	return ask
}

// inspectAll asks about containers of the last list in one process.
func (o *oci) inspectAll(ctx context.Context, ids []string) (hung bool, err error) {
	return o.inspectWithin(ctx, ids, o.spec.Timeout/2) // a list has been asked already
}

// inspectWithin asks and takes in the answers. A container that has gone meanwhile is no longer known.
func (o *oci) inspectWithin(ctx context.Context, ids []string, within time.Duration) (hung bool, err error) {
	got, gone, hung, err := o.inspectIDs(ctx, ids, within)
	o.mu.Lock()
	defer o.mu.Unlock()
	if bad := ociBad(""); errors.As(err, &bad) {
		if e := o.known[ids[0]]; e != nil {
			e.bad, e.print = string(bad), e.row.print
		}
		return false, nil
	}
	if err != nil {
		return hung, err
	}
	for _, id := range ids {
		e := o.known[id]
		if e == nil {
			continue
		}
		if in, ok := got[id]; ok {
			o.learn(e, in)
			e.print = e.row.print
		} else if slices.Contains(gone, id) {
			delete(o.known, id)
		} else {
			o.notes.add("%s: inspect left out container %.12s", o.label(), id)
		}
	}
	return false, nil
}

// inspectIDs runs one inspect. It fails when one of many does not exist, and prints the others all the same.
func (o *oci) inspectIDs(ctx context.Context, ids []string, within time.Duration) (got map[string]ociInspect, gone []string, hung bool, err error) {
	argv := o.argv(o.name, append([]string{"inspect", "--type=container", "--format=" + o.inspect, "--"}, ids...)...)
	t, err := o.askWithin(ctx, argv, within)
	gone = ociGone(o.gone, t.Stderr, ids)
	if err != nil && (len(gone) == 0 || t.Exit <= 0) {
		if bad := o.saysBad(t, ids); bad != "" {
			return nil, nil, false, bad
		}
		return nil, nil, t.TimedOut, ociShort(err, t, ids)
	}
	got, err = parseOCIInspect(t.Stdout)
	if err != nil {
		return nil, nil, false, fmt.Errorf("read what \"%s inspect\" printed: %w", o.name, err)
	}
	if len(got) == 0 && len(gone) == 0 {
		return nil, nil, false, fmt.Errorf("\"%s inspect\" said nothing about %d containers", o.name, len(ids))
	}
	if o.far() {
		for id, in := range got {
			in.Pid, in.ConmonPid = 0, 0 // of another host: nothing here can be held against its word
			got[id] = in
		}
	}
	return got, gone, false, nil
}

func (o *oci) label() string {
	if o.spec.Instance != "" {
		return o.name + ":" + o.spec.Instance
	}
	return o.name
}

// learn takes in what inspect said. The caller holds mu.
func (o *oci) learn(e *ociEntry, in ociInspect) {
	if dir := conmonExits(int(in.ConmonPid)); in.ConmonPid != 0 && dir != "" && !o.service {
		o.exits = dir
	}
	if dir := in.folder(); dir != "" && !o.far() {
		o.home = filepath.Dir(dir)
	}
	e.learn(in)
}

func (e *ociEntry) learn(in ociInspect) {
	if e.in.StartedAt != in.StartedAt || e.in.Pid != in.Pid {
		e.odd = time.Time{}
	}
	if in.running() && !in.began().Equal(e.in.began()) {
		e.ours, e.stopping = false, false // a new life
	}
	e.bad = ""
	e.stopping = e.stopping || in.Status == "stopping" && !e.ours
	e.in = in
	e.init, _ = identify(int(in.Pid))
	if !in.running() {
		e.init = health.Process{}
	}
}

// began is when this life did.
func (e *ociEntry) began() time.Time { return e.in.began() }

// listing tells what is known now of the rows.
func (o *oci) listing(rows []ociRow) Listing {
	l := Listing{Containers: o.sightings(rows)}
	o.mu.Lock()
	l.Degraded = o.degraded()
	o.mu.Unlock()
	l.Notes = o.notes.take()
	return l
}

// sightings tells what is known now of the rows, sorted by id.
func (o *oci) sightings(rows []ociRow) []health.Sighting {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	out := make([]health.Sighting, 0, len(rows))
	for _, r := range rows {
		e := o.known[r.id]
		if e == nil || e.in.ID == "" && e.bad == "" {
			continue // gone between the list and inspect, or never told: a sighting without its facts would mislead
		}
		e.in.Health = r.health
		s := o.sighting(r.id, e, now)
		if o.slow[r.id] {
			s = o.silent(s)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b health.Sighting) int {
		switch {
		case a.Ref.ID < b.Ref.ID:
			return -1
		case a.Ref.ID > b.Ref.ID:
			return 1
		}
		return 0
	})
	return slices.CompactFunc(out, func(a, b health.Sighting) bool { return a.Ref.ID == b.Ref.ID })
}
