package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// What tests ask of a running agent.

func (r *running) view() health.View {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v, err := r.agent.View(ctx)
	if err != nil {
		r.t.Fatalf("the agent does not say what it knows: %v", err)
	}
	return v
}

// until polls until ok, and ends the test with what was seen last when that does not come.
func (r *running) until(what string, ok func(v health.View) bool) health.View {
	r.t.Helper()
	var v health.View
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if v = r.view(); ok(v) {
			return v
		}
	}
	text, _ := json.MarshalIndent(v.Containers, "", " ")
	r.t.Fatalf("not within %s: %s\n%s", patience, what, text)
	return v
}

// phase waits until a container is in one of the phases.
func (r *running) phase(ref string, phases ...health.Phase) health.ContainerView {
	r.t.Helper()
	v := r.until(fmt.Sprintf("%s is %v", ref, phases), func(v health.View) bool {
		c := of(v, ref)
		for _, ph := range phases {
			if c.Phase == ph {
				return true
			}
		}
		return false
	})
	return of(v, ref)
}

// up waits until the containers are well, and, where the web server is probed, its probe has passed in this life.
func (r *running) up(refs ...string) {
	r.t.Helper()
	for _, ref := range refs {
		r.until(ref+" is up", func(v health.View) bool {
			c := of(v, ref)
			return c.Phase == health.Up && (!r.plan.Web || len(c.Signals) == 1 && c.Signals[0].Outcome == health.Pass)
		})
	}
}

// of gives a container of the view; the zero value where it is not known.
func of(v health.View, ref string) health.ContainerView {
	for _, c := range v.Containers {
		if c.Ref.String() == ref {
			return c
		}
	}
	return health.ContainerView{}
}

// incidents gives those of one container, oldest first.
func (r *running) incidents(ref string) []health.Incident {
	r.t.Helper()
	all, err := r.store.Incidents(context.Background(), store.Filter{})
	if err != nil {
		r.t.Fatal(err)
	}
	var out []health.Incident
	for _, in := range all {
		if in.Ref.String() == ref {
			out = append([]health.Incident{in}, out...)
		}
	}
	return out
}

// resolved waits until the container has n incidents, all of them over.
func (r *running) resolved(ref string, n int) []health.Incident {
	r.t.Helper()
	var all []health.Incident
	r.until(fmt.Sprintf("%d incidents of %s are over", n, ref), func(health.View) bool {
		all = r.incidents(ref)
		over := 0
		for _, in := range all {
			if !in.Resolved.IsZero() {
				over++
			}
		}
		return over == n && len(all) == n
	})
	return all
}

// alerts gives what was queued about one container, in order, delivered or not.
func (r *running) alerts(ref string) []store.Delivery {
	r.t.Helper()
	all, err := r.store.Outbox(context.Background(), true)
	if err != nil {
		r.t.Fatal(err)
	}
	var out []store.Delivery
	for _, d := range all {
		if d.Alert.Container != nil && d.Alert.Container.Ref == ref {
			out = append(out, d)
		}
	}
	return out
}

// alerted waits until exactly these kinds of alerts were queued about the container, in this order.
func (r *running) alerted(ref string, kinds ...health.AlertKind) []store.Delivery {
	r.t.Helper()
	want := fmt.Sprint(kinds)
	got := ""
	var all []store.Delivery
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		all = r.alerts(ref)
		if got = kindsOf(all); got == want {
			return all
		}
	}
	r.t.Fatalf("alerts of %s: %s, want %s", ref, got, want)
	return nil
}

// tried gives the attempts of an incident, as the store has them.
func (r *running) tried(incident string) (all []health.Tried) {
	r.t.Helper()
	_, notes, err := r.store.Incident(context.Background(), incident)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, n := range notes {
		var tr health.Tried
		if n.Kind == "tried" && json.Unmarshal(n.Data, &tr) == nil {
			all = append(all, tr)
		}
	}
	return all
}

// ofHost waits until exactly these kinds of alerts were queued about the host itself, notices and updates apart, in this order.
func (r *running) ofHost(kinds ...health.AlertKind) (all []store.Delivery) {
	r.t.Helper()
	r.until(fmt.Sprintf("the host's alerts are %v", kinds), func(health.View) bool {
		queued, err := r.store.Outbox(context.Background(), true)
		if err != nil {
			r.t.Fatal(err)
		}
		all = slices.DeleteFunc(queued, func(d store.Delivery) bool {
			return d.Alert.Container != nil || d.Alert.Kind == health.AlertNotice || d.Alert.Kind == health.AlertUpdate
		})
		return kindsOf(all) == fmt.Sprint(kinds)
	})
	return all
}

func kindsOf(all []store.Delivery) string {
	kinds := []health.AlertKind{}
	for _, d := range all {
		kinds = append(kinds, d.Alert.Kind)
	}
	return fmt.Sprint(kinds)
}

// quiet looks for so long, and ends the test when ok does not hold all the time.
func (r *running) always(what string, within time.Duration, ok func(v health.View) bool) {
	r.t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if v := r.view(); !ok(v) {
			text, _ := json.MarshalIndent(v.Containers, "", " ")
			r.t.Fatalf("not all the time: %s\n%s", what, text)
		}
	}
}

// lists waits until the instance has been listed completely twice from now on.
func (r *running) lists() {
	r.t.Helper()
	for range 2 {
		from := time.Now()
		r.until("another list", func(v health.View) bool {
			for _, i := range v.Instances {
				if !i.Looked.After(from) {
					return false
				}
			}
			return true
		})
	}
}

// order gives a person's word, which must be taken.
func (r *running) order(name string, o health.Order) {
	r.t.Helper()
	if o.By == "" {
		o.By = "the test"
	}
	if _, err := r.agent.Order(context.Background(), name, false, o); err != nil {
		r.t.Fatal(err)
	}
}
