package config

import (
	"fmt"
	"net/url"
	"slices"
	"time"

	"atalaya/agent/secret"
)

// A Channel is one place where alerts go.
type Channel struct {
	Name    string
	Kind    string        // webhook, file
	URL     secret.Value  // webhook
	Secret  secret.Value  // webhook: what requests are signed with; zero: they are not
	Headers []Header      // webhook: further request headers
	Attach  bool          // webhook: send the bundle along
	Timeout time.Duration // webhook: of one delivery
	Path    string        // file: what alerts are appended to
}

// A Header is one request header.
type Header struct {
	Name  string
	Value secret.Value
}

// defaultDelivery is how long one delivery to a webhook may take.
const defaultDelivery = 30 * time.Second

type rawChannel struct {
	Name    string         `mapstructure:"name"`
	Kind    string         `mapstructure:"kind"`
	URL     *rawURL        `mapstructure:"url"`
	Secret  *rawRef        `mapstructure:"secret"`
	Headers []rawHeader    `mapstructure:"headers"`
	Attach  *bool          `mapstructure:"attach"`
	Timeout *time.Duration `mapstructure:"timeout"`
	Path    *string        `mapstructure:"path"`
}

// A rawURL is a URL, or where one is that is itself a secret.
type rawURL string

// channels compiles the places where alerts go.
func (c *compiler) channels(raw []rawChannel) {
	for i, r := range raw {
		path := fmt.Sprintf("channels[%d]", i)
		if r.Name != "" && c.hasChannel(r.Name) {
			c.wrong(path+".name", "%q is the name of an earlier channel", r.Name)
		}
		c.foreign(path, channelKeys(), r, r.Kind)
		ch := Channel{
			Name: r.Name, Kind: r.Kind, Attach: or(r.Attach, true), Timeout: or(r.Timeout, defaultDelivery), Path: or(r.Path, ""),
		}
		switch {
		case r.Kind == "webhook" && r.URL == nil:
			c.wrong(path+".url", "is missing: where are alerts to be posted?")
		case r.Kind == "webhook":
			c.webhook(path, r, &ch)
		case r.Kind == "file" && r.Path == nil:
			c.wrong(path+".path", "is missing: which file are alerts to be appended to?")
		}
		c.out.Channels = append(c.out.Channels, ch)
	}
}

func (c *compiler) webhook(path string, r rawChannel, ch *Channel) {
	ch.URL = c.load(path+".url", rawRef(*r.URL))
	if secret.References(string(*r.URL)) {
		c.out.Secrets.Add(ch.URL)
	}
	if !ch.URL.IsZero() {
		c.url(path+".url", ch.URL.Reveal(), secret.References(string(*r.URL)))
	}
	if r.Secret != nil {
		ch.Secret = c.load(path+".secret", *r.Secret)
		c.out.Secrets.Add(ch.Secret)
	}
	c.headers(path, r.Headers)
	for _, h := range r.Headers {
		ch.Headers = append(ch.Headers, Header{Name: h.Name, Value: c.out.values[h.Value]})
	}
}

// url checks a URL without showing it: it may hold a secret.
func (c *compiler) url(path, text string, hidden bool) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		c.wrong(path, "is not a URL that begins with http:// or https:// and names a host")
	case u.User != nil && !hidden:
		c.wrong(path, "has a password in it: give the whole URL as file:/PATH, env:NAME or credential:NAME")
	case u.RawQuery != "" && !hidden:
		c.warn(path, "has a query: if there is a secret in it, give the URL as file:/PATH, env:NAME or credential:NAME")
	}
}

func (c *compiler) channelNames() []string {
	var all []string
	for _, ch := range c.out.Channels {
		all = append(all, ch.Name)
	}
	return all
}

func (c *compiler) hasChannel(name string) bool { return slices.Contains(c.channelNames(), name) }
