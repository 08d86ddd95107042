package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"atalaya/agent/health"
	"atalaya/probes"
)

// placed is a raw value and where it stands in the file.
type placed struct {
	probe rawProbe
	path  string
}

// definitions compiles the probes that are there to be used by name.
func (c *compiler) definitions(raw []rawProbe) {
	for i, p := range raw {
		path := fmt.Sprintf("probes[%d]", i)
		c.headers(path, p.Headers)
		if p.Kind == nil {
			c.wrong(path+".kind", "is missing: use %s", strings.Join(probes.Kinds(), ", "))
		}
		if other, taken := c.out.library[p.Name]; taken && p.Name != "" {
			c.wrong(path+".name", "%q is defined already, on line %d", p.Name, c.origin.line(other.path))
			continue
		}
		c.out.library[p.Name] = placed{p, path}
		if p.Kind != nil {
			c.validate(path, nil, p)
		}
	}
}

// probes checks those that defaults or a rule uses or defines.
func (c *compiler) probes(path string, raw []rawProbe) {
	seen := map[string]bool{}
	for i, p := range raw {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.headers(at, p.Headers)
		if p.Name == "" {
			continue // known to be wrong
		}
		if seen[p.Name] {
			c.wrong(at+".name", "%q stands twice in this list", p.Name)
			continue
		}
		seen[p.Name] = true
		base, found := c.out.library[p.Name]
		switch {
		case p.Kind != nil:
			if !found { // later rules may use it by name
				c.out.library[p.Name] = placed{p, at}
			}
			c.validate(at, nil, p)
		case found && base.probe.Kind != nil:
			c.validate(at, &base.probe, p)
		case found: // the definition is known to be wrong
		case !c.problems.about(at + ".kind"):
			c.wrong(at, "no probe is called %q%s", p.Name, c.orDefine(p.Name))
		}
	}
}

func (c *compiler) orDefine(name string) string {
	var known []string
	for n := range c.out.library {
		known = append(known, n)
	}
	slices.Sort(known)
	if s := near(name, known); s != "" {
		return s
	}
	return ": define it under probes, or give it a kind here"
}

// validate has package probes judge p over base. What is wrong with base alone was told where it stands.
func (c *compiler) validate(path string, base *rawProbe, p rawProbe) {
	known := map[string]bool{}
	if base != nil {
		for _, err := range c.out.spec(*base).Validate() {
			known[err.Error()] = true
		}
		merged := *base
		overlay(reflect.ValueOf(&merged).Elem(), reflect.ValueOf(p), "", func(string) {})
		p = merged
	}
	c.authorities(p)
	for _, err := range c.out.spec(p).Validate() {
		var field *probes.FieldError
		if known[err.Error()] || !errors.As(err, &field) {
			continue
		}
		c.wrong(join(path, field.Field), "%s", field.Msg)
	}
}

// authorities reads the CA file of p now: a probe is made of its spec where nothing may wait for a disk. What cannot be read
// is told by who validates it.
func (c *compiler) authorities(p rawProbe) {
	if p.CAFile == nil || c.out.roots[*p.CAFile] != nil {
		return
	}
	if roots, err := probes.Authorities(*p.CAFile); err == nil {
		c.out.roots[*p.CAFile] = roots
	}
}

// unused warns of definitions that no rule names: they check nothing.
func (c *compiler) unused(raw rawFile) {
	used := map[string]bool{}
	for _, p := range raw.Defaults.Probes {
		used[p.Name] = true
	}
	for _, r := range raw.Containers {
		for _, p := range r.Probes {
			used[p.Name] = true
		}
	}
	for i, p := range raw.Probes {
		if !used[p.Name] {
			c.warn(fmt.Sprintf("probes[%d]", i), "the probe %q is not used: name it in defaults.probes or in a rule of containers", p.Name)
		}
	}
}

// spec gives p in the words of package probes.
func (c *Config) spec(p rawProbe) probes.Spec {
	s := probes.Spec{
		Name: p.Name, Kind: or(p.Kind, ""), Target: or(p.Target, ""), Family: or(p.Family, ""), Port: or(p.Port, 0),
		Timeout: or(p.Timeout, probes.DefaultTimeout),
		Send:    or(p.Send, ""), Expect: or(p.Expect, ""),
		Method: or(p.Method, ""), Path: or(p.Path, ""), Host: or(p.Host, ""), Status: or(p.Status, ""),
		Body: or(p.Body, ""), BodyCap: int(or(p.BodyCap, 0)), Follow: or(p.Follow, 0),
		ServerName: or(p.ServerName, ""), CAFile: or(p.CAFile, ""), Insecure: or(p.Insecure, false),
		ExpiryWarning: or(p.ExpiryWarning, 0),
		Query:         or(p.Query, ""), QueryType: or(p.QueryType, ""), Rcode: or(p.Rcode, ""), Answers: p.Answers,
		Network: or(p.Network, ""), Argv: p.Argv, Exits: or(p.Exits, ""),
	}
	s.Roots = c.roots[s.CAFile]
	if p.ExpiryWarning != nil && *p.ExpiryWarning == 0 {
		s.ExpiryWarning = -1 // never; zero would be the default
	}
	for _, h := range p.Headers {
		s.Headers = append(s.Headers, probes.Header{Name: h.Name, Value: c.values[h.Value]})
	}
	return s
}

// policy says how the outcomes of p are judged.
func (p rawProbe) policy() health.ProbePolicy {
	d := health.DefaultProbePolicy()
	return health.ProbePolicy{
		FailAfter: or(p.FailAfter, d.FailAfter), PassAfter: or(p.PassAfter, d.PassAfter),
		Grace: or(p.Grace, d.Grace), Every: or(p.Every, d.Every), OnFail: health.OnFail(or(p.OnFail, string(d.OnFail))),
	}
}
