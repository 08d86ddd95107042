package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"atalaya/agent/health"
)

// holdAllKey is where a hold on everything is kept, so that it holds for what is not known yet.
const holdAllKey = "hold_all"

// An OrderError says why an order was not taken.
type OrderError struct{ Text string }

// Error gives the text.
func (e *OrderError) Error() string { return e.Text }

// An Ordered is a container that an order was taken for.
type Ordered struct {
	Name     string
	Released bool // the order ended a hold on it
}

// Order takes a person's word about one container by name, or about all, and returns the containers concerned once that
// is committed. A name may be "web1", "lxc/web1" or "lxc:backup/web1"; one that fits several is refused with the list.
func (a *Agent) Order(ctx context.Context, name string, all bool, o health.Order) ([]Ordered, error) {
	type reply struct {
		done []Ordered
		err  error
	}
	ch := make(chan reply, 1)
	a.inbox.put(func(t *turn) {
		done, err := t.order(name, all, o)
		if err != nil {
			ch <- reply{nil, err}
			return
		}
		t.after = append(t.after, func() {
			if t.memory.failing() {
				err = fmt.Errorf("the order holds now, but is not on disk yet: %w", t.memory.err)
			}
			ch <- reply{done, err}
		})
	})
	select {
	case r := <-ch:
		return r.done, r.err
	case <-a.stopped:
		return nil, &OrderError{"the agent is ending"}
	case <-ctx.Done():
		return nil, fmt.Errorf("give the order: %w", ctx.Err())
	}
}

func (t *turn) order(name string, all bool, o health.Order) ([]Ordered, error) {
	if all && o.Kind != health.OrderHold && o.Kind != health.OrderRelease {
		return nil, &OrderError{fmt.Sprintf("%q takes one container, not all", o.Kind)}
	}
	chosen := t.fitting(name, all)
	names := make([]string, len(chosen))
	for i, g := range chosen {
		names[i] = g.ref.String()
	}
	if !all {
		if _, err := t.find(name); err != nil {
			return nil, err
		}
	}
	if o.Kind == health.OrderHold { // a hold runs by the loop's own time
		o.Until = t.at.Add(o.Until.Sub(t.clock.wall(t.at)))
	}
	if all {
		t.keepHoldAll(o)
	}
	done := make([]Ordered, len(chosen))
	for i, g := range chosen {
		held := g.state.Hold != nil
		t.note(g, "order", fmt.Sprintf("%s, by %s%s", o.Kind, o.By, because(o.Reason)))
		t.log.Info("order", "container", g.ref.String(), "order", string(o.Kind), "by", o.By, "reason", o.Reason)
		t.obey(g, o)
		done[i] = Ordered{Name: names[i], Released: held && g.state.Hold == nil}
	}
	return done, nil
}

// fitting are the containers that are called so, or all, sorted.
func (t *turn) fitting(name string, all bool) []*guest {
	var out []*guest
	for _, g := range t.guests {
		if all || g.ref.String() == name || g.name() == name || g.ref.Engine+"/"+g.name() == name {
			out = append(out, g)
		}
	}
	return sorted(out)
}

// find gives the one container that is called so.
func (t *turn) find(name string) (*guest, error) {
	fits := t.fitting(name, false)
	switch len(fits) {
	case 0:
		return nil, &OrderError{fmt.Sprintf("no container is called %q; 'atalaya status' lists those that are watched", name)}
	case 1:
		return fits[0], nil
	}
	var names []string
	for _, g := range fits {
		names = append(names, g.ref.String())
	}
	return nil, &OrderError{fmt.Sprintf("%q fits several containers: %s; name one of them in full", name, strings.Join(names, ", "))}
}

// obey steps with a person's word.
func (t *turn) obey(g *guest, o health.Order) {
	t.take(g, sensed{sensor: sensorOrder, outcome: string(o.Kind), detail: o.By, record: record{Order: &o}}, health.Observation{Order: &o})
}

func (t *turn) keepHoldAll(o health.Order) {
	t.holdAll = nil
	value := ""
	if o.Kind == health.OrderHold {
		t.holdAll = &health.Hold{Until: o.Until, Reason: o.Reason, By: o.By}
		b, err := json.Marshal(t.holdAll)
		if err == nil {
			value = string(b)
		}
	}
	t.batch.Meta = meta(t.batch.Meta, holdAllKey, value)
}
