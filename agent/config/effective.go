package config

import (
	"fmt"
	"reflect"
	"slices"

	"atalaya/agent/health"
	"atalaya/probes"
)

// An effective gathers, layer by layer, what holds for one container, and where each key of it was given.
type effective struct {
	config *Config
	set    rawRule
	probes []rawProbe
	from   map[string]string // path in the file by key, "probes.web.every" or "budget.window"; absent: built-in
	mixed  []string          // probes that several layers made together: Load has not seen them so
}

// layer lays what stands at path in the file over what was gathered.
func (e *effective) layer(path string, r rawRule) {
	if r.Mode != nil && r.Match.Tag != nil && rank(*r.Mode) > rank(*e.set.Mode) {
		r.Mode = nil // a tag may be in the hands of the tenant: it lowers the mode, and never raises it
	}
	list := r.Probes
	r.Probes, r.Match = nil, rawMatch{}
	overlay(reflect.ValueOf(&e.set).Elem(), reflect.ValueOf(r), "", func(key string) { e.from[key] = path + "." + key })
	if list != nil && len(list) == 0 {
		e.probes = nil
	}
	for i, p := range list {
		e.probe(fmt.Sprintf("%s.probes[%d]", path, i), p)
	}
}

// probe lays p over the probe of its name: the one gathered so far, else the one that is defined somewhere. One with a
// kind is a definition, and starts from nothing.
func (e *effective) probe(path string, p rawProbe) {
	i := slices.IndexFunc(e.probes, func(q rawProbe) bool { return q.Name == p.Name })
	var merged rawProbe
	switch {
	case p.Kind == nil && i >= 0:
		merged = e.probes[i]
		e.mixed = append(e.mixed, p.Name)
	default:
		merged = builtInProbe(p.Name)
		e.forget(p.Name)
		if p.Kind == nil {
			base := e.config.library[p.Name]
			e.lay(&merged, base.probe, base.path)
		}
	}
	e.lay(&merged, p, path)
	if i >= 0 {
		e.probes[i] = merged
		return
	}
	e.probes = append(e.probes, merged)
}

func (e *effective) lay(dst *rawProbe, src rawProbe, path string) {
	overlay(reflect.ValueOf(dst).Elem(), reflect.ValueOf(src), "", func(key string) {
		e.from["probes."+src.Name+"."+key] = path + "." + key
	})
}

// forget drops where the keys of a probe were given: it is defined anew.
func (e *effective) forget(name string) {
	given(reflect.ValueOf(builtInProbe(name)), "probes."+name, func(path string, _ reflect.Value) { delete(e.from, path) })
}

// doubts has package probes judge a probe that Load has not seen as it is now.
func (e *effective) doubts(s probes.Spec) []error {
	if !slices.Contains(e.mixed, s.Name) {
		return nil // not again: it may read a file
	}
	return s.Validate()
}

// builtInProbe is how a probe is run and judged about which only its kind is configured.
func builtInProbe(name string) rawProbe {
	d := health.DefaultProbePolicy()
	return rawProbe{
		Name: name, Every: &d.Every, Timeout: new(probes.DefaultTimeout),
		FailAfter: &d.FailAfter, PassAfter: &d.PassAfter, Grace: &d.Grace, OnFail: new(string(d.OnFail)),
	}
}
