package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"atalaya/agent/config"
	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/probes"
)

// A seen is one engine instance with what it listed.
type seen struct {
	*engine.Instance
	listing engine.Listing
	err     error
}

func (s seen) ref() health.Ref {
	spec := s.Spec()
	return health.Ref{Engine: spec.Engine, Instance: spec.Instance}
}

func (s seen) view(at time.Time) health.InstanceView {
	v := health.InstanceView{Engine: s.Spec().Engine, Instance: s.Spec().Instance, Where: s.Where(), Count: len(s.listing.Containers),
		Degraded: s.listing.Degraded, Looked: at}
	if s.err != nil {
		v.Err, v.Looked = s.err.Error(), time.Time{}
	}
	if v.Err == "" && v.Degraded == "" {
		v.Listed = at
	}
	return v
}

// lookAt lists every configured engine instance once, or those that are found. An instance that cannot be listed says so; no
// instance at all is an error.
func lookAt(ctx context.Context, c *config.Config, x *hostexec.Host) ([]seen, error) {
	specs := c.Engines
	if len(specs) == 0 {
		specs = engine.Discover(ctx, x)
	}
	if len(specs) == 0 {
		return nil, noEngine()
	}
	out := make([]seen, len(specs))
	var wg sync.WaitGroup
	for n, s := range specs {
		runner, err := runnerOf(x, s)
		if err != nil {
			return nil, err
		}
		i, err := engine.Open(s, runner, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			out[n].Instance = i
			out[n].listing, out[n].err = i.List(ctx, nil)
		})
	}
	wg.Wait()
	return out, nil
}

func noEngine() error {
	return fmt.Errorf("no virtualization engine was found on this host; this version knows %v: install one, or describe yours under engines: in the configuration", engine.Names())
}

// probeOnce runs each probe of a running container once, all at the same time.
func probeOnce(ctx context.Context, slots chan struct{}, i *engine.Instance, g health.Sighting, specs []probes.Spec) []health.SignalView {
	out := make([]health.SignalView, len(specs))
	var wg sync.WaitGroup
	for n, spec := range specs {
		out[n].Probe = spec.Name
		if g.State != health.Running {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			out[n] = probe(ctx, i, g, spec)
		})
	}
	wg.Wait()
	return out
}

func probe(ctx context.Context, i *engine.Instance, g health.Sighting, spec probes.Spec) health.SignalView {
	v := health.SignalView{Probe: spec.Name, At: time.Now()}
	p, err := probes.New(spec)
	if err != nil {
		v.Outcome, v.Detail = health.Unsure, err.Error()
		return v
	}
	r := probes.Run(ctx, spec, p, probes.Guest{Addrs: g.Addrs, Exec: func(ctx context.Context, argv []string) (int, []byte, error) {
		limit := probes.MaxTimeout
		if d, ok := ctx.Deadline(); ok {
			limit = time.Until(d)
		}
		t := i.Exec(ctx, g.Ref.ID, argv, limit)
		if t.Exit < 0 {
			return 0, nil, errors.Join(t.Err(), ctx.Err())
		}
		return t.Exit, append(t.Stdout, t.Stderr...), nil
	}})
	v.Outcome, v.Detail, v.Took = r.Outcome, r.Detail, health.ToMillis(r.Took)
	v.Warning, v.Expires = r.Warning, r.CertExpires
	return v
}
