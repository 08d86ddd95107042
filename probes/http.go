package probes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/secret"
)

// An httpCheck asks for one page, follows redirects if told to, and looks at status and body.
//
// It speaks HTTP/1.1 itself over one connection, with the standard library's parser of responses: http.Transport starts
// two goroutines for each connection, takes some 25 µs more CPU where it is used once (BenchmarkHTTP), and could not be
// kept from following a redirect to an address that nobody configured.
type httpCheck struct {
	endpoint
	first   page
	trust   *trust // nil: no https, not even by a redirect
	headers headers
	status  codes
	body    *regexp.Regexp // nil: none
	cap     int
	follow  int
	secrets *secret.Set // nil: none
	margin  int         // bytes; no secret is longer, in whatever form a server echoes it
}

func newHTTP(s Spec) (check, error) {
	to, err := s.endpoint()
	if err != nil {
		return nil, err
	}
	c := &httpCheck{endpoint: to, cap: or(s.BodyCap, DefaultBodyCap), follow: s.Follow, headers: newHeaders(s.Headers)}
	c.first = page{
		secure: s.Kind == HTTPS, host: s.Host, port: to.port, headers: true,
		method: or(s.Method, http.MethodGet), path: or(s.Path, "/"),
	}
	if c.status, err = parseCodes(or(s.Status, DefaultStatus), 100, 599); err != nil {
		return nil, err
	}
	if s.Body != "" {
		if c.body, err = regexp.Compile(s.Body); err != nil {
			return nil, err
		}
	}
	if c.first.secure || s.Follow > 0 {
		if c.trust, err = newTrust(s, "http/1.1"); err != nil {
			return nil, err
		}
	}
	if len(s.Headers) == 0 {
		return c.run, nil
	}
	c.secrets = secretsOf(s.Headers)
	for _, h := range s.Headers {
		c.margin = max(c.margin, 6*len(h.Value.Reveal())+64) // six: \u00e4
	}
	return c.runRedacted, nil
}

func (c *httpCheck) run(ctx context.Context, g Guest, t *trial) (string, error) {
	addrs, err := c.find(ctx, g, t)
	if err != nil {
		return "", err
	}
	p := c.first
	if p.host == "" {
		p.host = authority(c.at.name, addrs[0], p.port, p.secure)
	}
	for hop := 0; ; hop++ {
		a, err := c.ask(ctx, g, t, &p, addrs)
		if err != nil {
			return "", err
		}
		where := a.location()
		if c.follow == 0 || where == "" {
			return c.judge(a, hop, t)
		}
		if hop == c.follow {
			return "", fmt.Errorf("still redirected, to %q, after %d redirects", where, hop)
		}
		if p, err = p.redirected(a.status, where); err != nil {
			return "", err
		}
		addrs = []netip.Addr{a.peer}
	}
}

// judge looks at the last answer.
func (c *httpCheck) judge(a *answer, hops int, t *trial) (string, error) {
	said := strconv.Itoa(a.status)
	if text := http.StatusText(a.status); text != "" {
		said += " " + text
	}
	if hops > 0 {
		said += " at redirect " + strconv.Itoa(hops)
	}
	if !c.status.has(a.status) {
		said += t.after() + ", expected " + c.status.String()
		if where := a.location(); where != "" {
			said += "; it redirects to " + strconv.Quote(where)
		}
		return "", errors.New(said)
	}
	if c.body != nil && !c.body.Match(a.body) {
		return "", fmt.Errorf("%s%s, but %q is not in the %d bytes of the body that were read", said, t.after(), c.body, len(a.body))
	}
	return said + t.after(), nil
}

// runRedacted is run where requests hold secrets: a server may echo them, and they must not reach the evidence. The
// answer's part of the transcript is redacted where it is written, before it is cut.
func (c *httpCheck) runRedacted(ctx context.Context, g Guest, t *trial) (string, error) {
	detail, err := c.run(ctx, g, t)
	t.result.Warning = c.redact(t.result.Warning)
	if err != nil {
		shown := fmt.Errorf("%s", c.redact(err.Error()))
		if isUnsure(err) {
			return "", unsure{shown}
		}
		return "", shown
	}
	return c.redact(detail), nil
}

func (c *httpCheck) redact(s string) string { return string(c.secrets.Redact([]byte(s))) }

// ask makes one request on a connection of its own.
func (c *httpCheck) ask(ctx context.Context, g Guest, t *trial, p *page, addrs []netip.Addr) (*answer, error) {
	conn, err := t.connect(ctx, g, "tcp", addrs, p.port)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // the TLS connection, once there is one
	defer hold(ctx, conn)()
	peer := conn.RemoteAddr().String()
	if p.secure {
		secured, err := c.trust.handshake(conn, p.name(), t)
		if err != nil {
			return nil, err
		}
		conn = secured
	}
	began, lines := time.Now(), c.headers.of(p)
	wire := p.request(lines.sent)
	if _, err = conn.Write(wire); err != nil {
		return nil, stepErr("send the request to "+peer, began, err)
	}
	if lines.shown != lines.sent {
		wire = p.request(lines.shown)
	}
	t.log.add("--- request to ", peer, "\n")
	_, _ = t.log.Write(wire)
	a := &answer{method: p.method, peer: peerAddr(conn, addrs[0]), margin: c.margin, tap: tap{from: conn, left: maxHead, keep: headKept + c.margin}}
	err = a.read(c.cap, c.body != nil)
	if !a.tap.first.IsZero() {
		t.result.Phases.FirstByte += a.tap.first.Sub(began)
	}
	a.log(t, c.secrets)
	if err != nil {
		return nil, stepErr(p.method+" "+p.path+" from "+peer+a.reached(), began, err)
	}
	return a, nil
}

// authority is the Host header of a request to a target that has none configured.
func authority(name string, addr netip.Addr, port int, secure bool) string {
	if name == "" {
		name = addr.WithZone("").String()
		if addr.Is6() {
			name = "[" + name + "]"
		}
	}
	name = strings.TrimSuffix(name, ".")
	if port == usualPort(secure) {
		return name
	}
	return name + ":" + strconv.Itoa(port)
}

func usualPort(secure bool) int {
	if secure {
		return 443
	}
	return 80
}
