package main

import (
	"context"
	"fmt"
	"time"

	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/store"
	"atalaya/agent/web"
)

// records are what is kept of the past: as the running agent tells it, or as it is on disk.
type records interface {
	Incidents(ctx context.Context, f store.Filter) ([]health.Incident, error)
	Story(ctx context.Context, begins string) (web.Story, error)
	Journal(ctx context.Context, since time.Time) ([]store.Run, error)
	Outbox(ctx context.Context, all bool) ([]web.Alert, error)
	Bundles(ctx context.Context, begins string) ([]evidence.Sealed, error)
	Bundle(ctx context.Context, file string) ([]byte, error)
}

// fromStore opens the store for reading, where no agent can be asked.
func fromStore(o *options) (web.Records, func(), error) {
	s, c, err := o.store()
	if err != nil {
		return web.Records{}, nil, err
	}
	return web.Records{Store: s, Evidence: c.Evidence.Dir}, func() { _ = s.Close() }, nil // it was only read
}

// fromFolder is enough for bundles.
func fromFolder(o *options) (web.Records, func(), error) {
	c, err := o.load()
	if err != nil {
		return web.Records{}, nil, err
	}
	return web.Records{Evidence: c.Evidence.Dir}, func() {}, nil
}

// reading asks the agent. When it cannot be asked, what is on disk is read, and that is said.
func reading[T any](o *options, otherwise func(*options) (web.Records, func(), error), ask func(records) (T, error)) (T, error) {
	var none T
	c, err := o.client()
	if err != nil {
		return none, unsure(err)
	}
	v, err := ask(c)
	if _, refused := errorAs[*web.Refusal](err); refused || err == nil {
		return v, hinted(err)
	}
	r, done, diskErr := otherwise(o)
	if diskErr != nil {
		return none, unsure(fmt.Errorf("%w\nwithout it: %w", err, diskErr))
	}
	defer done()
	o.say("%v", err)
	o.say("this is read from the disk")
	return ask(r)
}
