package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"atalaya/agent/notify"
	"atalaya/agent/secret"
)

// A Channel is one place where alerts go. One of the two specs is set.
type Channel struct {
	Name    string
	Kind    string // webhook, file
	Webhook *notify.WebhookSpec
	File    *notify.FileSpec
}

// Open makes the channel ready; version is the agent's. It cannot fail for what Load accepted, unless a file that is
// named there has changed since.
func (c Channel) Open(version string) (notify.Channel, error) {
	if c.File != nil {
		return notify.NewFile(*c.File)
	}
	s := *c.Webhook
	s.Version = version
	return notify.NewWebhook(s)
}

type rawChannel struct {
	Name      string         `mapstructure:"name"`
	Kind      string         `mapstructure:"kind"`
	URL       *rawURL        `mapstructure:"url"`
	Secret    *rawRef        `mapstructure:"secret"`
	Headers   []rawHeader    `mapstructure:"headers"`
	Attach    *bool          `mapstructure:"attach"`
	MaxAttach *int64         `mapstructure:"max_attach"`
	Link      *string        `mapstructure:"link"`
	Audience  *string        `mapstructure:"audience"`
	CAFile    *string        `mapstructure:"ca_file"`
	Timeout   *time.Duration `mapstructure:"timeout"`
	Path      *string        `mapstructure:"path"`
}

// channels compiles the places where alerts go.
func (c *compiler) channels(raw []rawChannel) {
	for i, r := range raw {
		path := fmt.Sprintf("channels[%d]", i)
		if r.Name != "" && c.hasChannel(r.Name) {
			c.wrong(path+".name", "%q is the name of an earlier channel", r.Name)
		}
		c.foreign(path, channelKeys(), r, r.Kind)
		ch := Channel{Name: r.Name, Kind: r.Kind}
		switch r.Kind {
		case "webhook":
			ch.Webhook = c.webhook(path, r)
		case "file":
			if r.Path == nil {
				c.wrong(path+".path", "is missing: which file are alerts to be appended to?")
			}
			ch.File = &notify.FileSpec{Name: r.Name, Path: or(r.Path, "")}
		}
		c.out.Channels = append(c.out.Channels, ch)
		c.tryChannel(path, ch)
	}
}

// tryChannel has package notify judge a channel: to make one opens no connection.
func (c *compiler) tryChannel(path string, ch Channel) {
	if c.problems.within(path) {
		return // it would say the same in other words
	}
	_, err := ch.Open("")
	if err == nil {
		return
	}
	msg := strings.TrimPrefix(err.Error(), fmt.Sprintf("channel %q: ", ch.Name))
	if name, after, found := strings.Cut(msg, ": "); found {
		if _, known := find(channelKeys(), name); known {
			path, msg = join(path, name), after
		}
	}
	c.wrong(path, "%s", msg)
}

func (c *compiler) webhook(path string, r rawChannel) *notify.WebhookSpec {
	s := &notify.WebhookSpec{
		Name: r.Name, Attach: or(r.Attach, false), MaxAttach: or(r.MaxAttach, 0), Link: or(r.Link, ""),
		Audience: or(r.Audience, ""), CAFile: or(r.CAFile, ""), Timeout: or(r.Timeout, 0),
	}
	if r.URL == nil {
		c.wrong(path+".url", "is missing: where are alerts to be posted?")
	} else {
		s.URL = c.load(path+".url", rawRef(*r.URL))
		c.out.Secrets.Add(s.URL) // many receivers put their key into it
	}
	if r.Secret != nil {
		s.Secret = c.secret(path+".secret", *r.Secret)
	}
	c.headers(path, r.Headers)
	for _, h := range r.Headers {
		s.Headers = append(s.Headers, notify.Header{Name: h.Name, Value: c.out.values[h.Value]})
	}
	return s
}

// A rawURL is a URL, which may have a key in its path, or where one is.
type rawURL string

// shown is what people see of it: the reference, or of the URL itself no more than the host.
func (r rawURL) shown() string {
	if secret.References(string(r)) {
		return string(r)
	}
	u, err := url.Parse(string(r))
	if err != nil {
		return secret.Redacted
	}
	plain := u.Scheme + "://" + u.Host
	if string(r) == plain || string(r) == plain+"/" {
		return string(r)
	}
	return plain + "/" + secret.Redacted
}

func (c *compiler) channelNames() []string {
	var all []string
	for _, ch := range c.out.Channels {
		all = append(all, ch.Name)
	}
	return all
}

func (c *compiler) hasChannel(name string) bool { return slices.Contains(c.channelNames(), name) }
