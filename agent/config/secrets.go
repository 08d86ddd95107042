package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"atalaya/agent/secret"
)

// A rawRef is where a secret is, or the secret itself. See secret.Load.
type rawRef string

// shown is how a reference is written where people see it: the secret itself is not.
func (r rawRef) shown() string {
	if secret.References(string(r)) {
		return string(r)
	}
	return secret.Redacted
}

// A rawHeader is one request header, of a probe or a webhook.
type rawHeader struct {
	Name  string `mapstructure:"name"`
	Value rawRef `mapstructure:"value"`
}

// private says that the value of a header is to be hidden: all but those that are known to be harmless, which would
// otherwise be cut out of every bundle (text/html).
func (h rawHeader) private() bool {
	harmless := []string{"accept", "accept-encoding", "accept-language", "cache-control", "connection", "content-type", "user-agent"}
	return secret.References(string(h.Value)) || !slices.Contains(harmless, strings.ToLower(h.Name))
}

func (h rawHeader) tree() *yaml.Node {
	value := string(h.Value)
	if h.private() {
		value = h.Value.shown()
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range []string{"name", h.Name, "value", value} {
		sub := &yaml.Node{}
		sub.SetString(s)
		n.Content = append(n.Content, sub)
	}
	return n
}

// secret reads the secret that ref names, and makes it one of those that no bundle may hold.
func (c *compiler) secret(path string, ref rawRef) secret.Value {
	v := c.load(path, ref)
	c.out.Secrets.Add(v)
	if c.mode&0o007 != 0 && !v.IsZero() && !secret.References(string(ref)) {
		c.warn(path, "is written in a file that everybody on this host can read: run chmod %04o %s, or give it as file:/PATH, env:NAME "+
			"or credential:NAME", c.mode&^0o007, c.origin.file)
	}
	return v
}

// load reads the value that ref names and remembers it.
func (c *compiler) load(path string, ref rawRef) secret.Value {
	if v, known := c.out.values[ref]; known || ref == "" {
		return v
	}
	if strings.Contains(string(ref), secret.Redacted) {
		c.wrong(path, "has %s where a secret was: put it back, best as file:/PATH, env:NAME or credential:NAME", secret.Redacted)
		return secret.Value{}
	}
	v, err := secret.Load(string(ref))
	if err != nil {
		c.wrong(path, "%s", err)
		return secret.Value{}
	}
	c.out.values[ref] = v
	return v
}

// headers loads the values of request headers.
func (c *compiler) headers(path string, headers []rawHeader) {
	for i, h := range headers {
		at := fmt.Sprintf("%s.headers[%d].value", path, i)
		if h.private() {
			c.secret(at, h.Value)
		} else {
			c.load(at, h.Value)
		}
	}
}
