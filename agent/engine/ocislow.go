package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"atalaya/agent/health"
)

// The degraded path. One container whose lock somebody holds (a kill that waits for a hung shim, a start whose hook or
// mount hangs) has every inspect that names it hang for ever, and with podman the list as well. The others still answer
// when they are asked one by one, and the culprit is named.

// inspectMany asks about all of ids in as few processes as hold them; about each alone only when that hangs.
func (o *oci) inspectMany(ctx context.Context, ids []string) error {
	var slow []string
	o.mu.Lock()
	quick := ids[:0:0]
	for _, id := range ids {
		if e := o.known[id]; o.slow[id] || e != nil && e.bad != "" {
			slow = append(slow, id)
		} else {
			quick = append(quick, id)
		}
	}
	o.mu.Unlock()
	if len(slow) > 0 {
		_ = o.inspectEach(ctx, slow) // who is still silent stays so: the others are what counts
	}
	for len(quick) > 0 {
		chunk := quick[:min(len(quick), ociChunk)]
		quick = quick[len(chunk):]
		hung, err := o.inspectAll(ctx, chunk)
		if (hung || err != nil && len(chunk) > 1) && ctx.Err() == nil {
			if err = o.inspectEach(ctx, chunk); err == nil || len(chunk) == 1 {
				continue // one that is silent by itself is shown as such
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inspectEach asks about each alone, some at once, and remembers who did not answer. When nobody does, it is the engine
// that hangs, and that is an error.
func (o *oci) inspectEach(ctx context.Context, ids []string) error {
	answered, failed := 0, error(nil)
	for few := range slices.Chunk(ids, slowAtOnce) {
		askEach(few, func(id string) {
			hung, err := o.inspectWithin(ctx, []string{id}, slowWithin)
			o.mu.Lock()
			defer o.mu.Unlock()
			if !hung {
				delete(o.slow, id)
			} else if o.known[id] != nil && ctx.Err() == nil {
				o.slow[id] = true
			}
			if err != nil {
				failed = err
			} else {
				answered++
			}
		})
		if answered == 0 && failed != nil {
			return failed
		}
	}
	return nil
}

// stillSlow asks again those that did not answer, and tells whether one of them still does not.
func (o *oci) stillSlow(ctx context.Context) bool {
	o.mu.Lock()
	ids := sortedKeys(o.slow)
	o.mu.Unlock()
	if len(ids) == 0 {
		return false
	}
	_ = o.inspectEach(ctx, ids)
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.slow) > 0
}

// listEach lists what is known by asking about each: podman's list waits for the lock of every container.
func (o *oci) listEach(ctx context.Context) ([]ociRow, error) {
	o.mu.Lock()
	ids := sortedKeys(o.known)
	o.mu.Unlock()
	if err := o.inspectEach(ctx, ids); err != nil {
		o.mu.Lock()
		o.slow = map[string]bool{} // all of it hangs, and nobody in it is to blame
		o.mu.Unlock()
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var rows []ociRow
	for _, id := range ids {
		if e := o.known[id]; e != nil {
			e.row.health = e.in.Health
			rows = append(rows, ociRow{id: id, health: e.in.Health})
		}
	}
	return rows, nil
}

// degraded names who does not answer. The caller holds mu.
func (o *oci) degraded() string {
	var who []string
	for _, id := range sortedKeys(o.slow) {
		if e := o.known[id]; e != nil {
			who = append(who, fmt.Sprintf("%q", strings.TrimPrefix(tidy(string(e.in.Name)), "/")))
		} else {
			delete(o.slow, id)
		}
	}
	if len(who) == 0 {
		return ""
	}
	return fmt.Sprintf("%s inspect hangs when it is asked about %s: who is asked about that changed is asked one by one", o.name, culprits(who))
}

// silent is a sighting of one that does not answer: unknown, and not what it last was.
func (o *oci) silent(s health.Sighting) health.Sighting {
	s.State, s.Supervisor, s.OnPurpose, s.Finished, s.Health = health.Unknown, "", "", false, ""
	s.Detail = fmt.Sprintf("%s inspect gives no answer about it within %s: some operation holds its lock", o.name, slowWithin)
	return s
}
