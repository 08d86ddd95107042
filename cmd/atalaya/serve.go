package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/agent/store"
	"atalaya/agent/web"
)

const (
	readyWithin = time.Second
	// aliveWithin is several heartbeats of the decision loop, and the longest that one commit may keep it.
	aliveWithin = 20 * time.Second
)

// listen takes the control socket and the address of the metrics, before anything runs: what is in the way is an error
// of the start.
func (p *parts) listen() error {
	if err := p.registry.Register(web.NewCollector(version, p.agent.View)); err != nil {
		return fmt.Errorf("register the metrics of the view: %w", err)
	}
	control, err := web.ListenControl(web.ControlOptions{Path: p.config.Control.Socket, Group: p.config.Control.Group,
		View: p.agent.View, Order: p.order, Retry: p.retry, Drop: p.drop, Log: p.log, Explain: p.explain,
		Records: web.Records{Store: p.store, Evidence: p.config.Evidence.Dir}})
	if err != nil {
		return err
	}
	p.control, p.closers = control, append(p.closers, control.Close)
	if p.config.Web.Listen == "" {
		return nil
	}
	p.web, err = web.Listen(web.Options{Listen: p.config.Web.Listen, Version: version, Gatherer: p.registry,
		Ready: p.ready, Alive: func() error { return p.agent.Alive(aliveWithin) }, Log: p.log})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, p.web.Close)
	return nil
}

// ready is nil once the loop turns, every instance was listed or says why not, and the store can be written.
func (p *parts) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	v, err := p.agent.View(ctx)
	if err != nil {
		return err
	}
	for _, i := range v.Instances {
		if i.Looked.IsZero() && i.Err == "" {
			return fmt.Errorf("the containers of %s have not been listed yet", instanceName(i))
		}
	}
	if err := p.store.Health(); err != nil {
		return fmt.Errorf("the store cannot be written: %w", err)
	}
	return nil
}

// order gives a person's word to the agent.
func (p *parts) order(ctx context.Context, q web.OrderRequest) (web.OrderReply, error) {
	o := health.Order{Kind: q.Kind, Reason: q.Reason, By: q.By}
	if q.For > 0 {
		o.Until = time.Now().Add(time.Duration(q.For))
	}
	done, err := p.agent.Order(ctx, q.Name, q.All, o)
	var refused *agent.OrderError
	switch {
	case errors.As(err, &refused):
		return web.OrderReply{}, &web.Refusal{Text: refused.Text}
	case err != nil && done == nil:
		return web.OrderReply{}, err
	}
	r := web.OrderReply{Until: o.Until}
	for _, d := range done {
		r.Containers = append(r.Containers, d.Name)
		if d.Released {
			r.Released = append(r.Released, d.Name)
		}
	}
	if err != nil {
		r.Warning = err.Error()
	}
	return r, nil
}

// retry has an alert sent again now.
func (p *parts) retry(ctx context.Context, id int64, by string) error {
	if err := p.record(ctx, id, "sent again, by "+by, func(ctx context.Context, id int64) error {
		return p.store.Requeue(ctx, id, p.agent.Now())
	}); err != nil {
		return err
	}
	p.dispatcher.Kick()
	return nil
}

// drop gives an alert up.
func (p *parts) drop(ctx context.Context, id int64, by string) error {
	err := p.record(ctx, id, "given up, by "+by, p.store.Drop)
	p.dispatcher.Kick() // those behind it need wait no longer
	return err
}

// record does something about an alert of the outbox and writes down who ordered it.
func (p *parts) record(ctx context.Context, id int64, what string, act func(context.Context, int64) error) error {
	rows, err := p.store.Outbox(ctx, false)
	if err != nil {
		return err
	}
	if err := act(ctx, id); err != nil {
		return err
	}
	for _, d := range rows {
		if d.ID != id {
			continue
		}
		n := store.Note{Incident: d.Alert.Incident, At: p.agent.Now(), Kind: "order",
			Text: fmt.Sprintf("alert %d (%s, to %q): %s", id, d.Alert.Kind, d.Channel, what)}
		if s := d.Alert.Container; s != nil {
			n.Ref = health.Ref{Engine: s.Engine, Instance: s.Instance, ID: s.ID}
		}
		p.log.Info("order", "alert", id, "channel", d.Channel, "order", what)
		return p.store.Commit(ctx, store.Batch{At: n.At, Notes: []store.Note{n}})
	}
	return nil
}
