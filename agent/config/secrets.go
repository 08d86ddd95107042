package config

import (
	"fmt"
	"slices"
	"strings"

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

// load reads the secret that ref names and remembers it.
func (c *compiler) load(path string, ref rawRef) secret.Value {
	if ref == "" {
		return secret.Value{}
	}
	if v, known := c.out.values[ref]; known {
		return v
	}
	if ref == secret.Redacted {
		c.wrong(path, "%s stands where a secret was: put it back, as file:/PATH, env:NAME or credential:NAME", secret.Redacted)
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
		v := c.load(fmt.Sprintf("%s.headers[%d].value", path, i), h.Value)
		if h.private() {
			c.out.Secrets.Add(v)
		}
	}
}

// private says that the value of a header is to be hidden: all but those that are known to be harmless, which would
// otherwise be cut out of every bundle (text/html).
func (h rawHeader) private() bool {
	harmless := []string{"accept", "accept-encoding", "accept-language", "cache-control", "connection", "content-type", "user-agent"}
	return secret.References(string(h.Value)) || !slices.Contains(harmless, strings.ToLower(h.Name))
}

func listOf(words []string) string { return strings.Join(words, ", ") }
