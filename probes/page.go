package probes

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"atalaya/agent/secret"
)

// A page is what one request asks for.
type page struct {
	secure  bool
	host    string // the Host header: name or name:port
	port    int    // that is dialled
	method  string
	path    string // with its query
	headers bool   // the configured headers go along
}

// request gives the bytes to send, with lines as the further headers. Every connection serves one request.
func (p *page) request(lines string) []byte {
	b := make([]byte, 0, 96+len(p.method)+len(p.path)+len(p.host)+len(lines))
	b = append(b, p.method...)
	b = append(b, ' ')
	b = append(b, p.path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, p.host...)
	b = append(b, "\r\nConnection: close\r\n"...)
	if p.method == http.MethodPost || p.method == http.MethodPut || p.method == http.MethodPatch {
		b = append(b, "Content-Length: 0\r\n"...)
	}
	b = append(b, lines...)
	return append(b, "\r\n"...)
}

// name is the host name without its port: what a certificate must be for.
func (p *page) name() string {
	if h, _, err := net.SplitHostPort(p.host); err == nil {
		return h
	}
	return strings.Trim(p.host, "[]")
}

// redirected gives the page that an answer sends us to. It is asked of the same address, whatever host is named there:
// nothing goes where nobody configured it to go. The configured headers stay behind when the host changes or https is
// left, as browsers do with credentials.
func (p *page) redirected(status int, where string) (page, error) {
	scheme := "http"
	if p.secure {
		scheme = "https"
	}
	here := url.URL{Scheme: scheme, Host: p.host}
	if at, err := url.ParseRequestURI(p.path); err == nil {
		here.Path, here.RawPath, here.RawQuery = at.Path, at.RawPath, at.RawQuery
	}
	to, err := here.Parse(where)
	if err != nil {
		return page{}, fmt.Errorf("redirected to %q, which is no URL", where)
	}
	next := page{secure: to.Scheme == "https", host: to.Host, path: to.RequestURI(), method: p.method}
	next.port = usualPort(next.secure)
	if to.Port() != "" {
		if next.port, err = strconv.Atoi(to.Port()); err != nil || next.port < 1 || next.port > 65535 {
			return page{}, fmt.Errorf("redirected to %q, which has no good port", where)
		}
	}
	if to.Scheme != "http" && to.Scheme != "https" || checkPath(next.path) != nil ||
		!isHost(to.Hostname()) && net.ParseIP(to.Hostname()) == nil {
		return page{}, fmt.Errorf("redirected to %q, which is not followed", where)
	}
	next.headers = p.headers && strings.EqualFold(p.name(), next.name()) && (next.secure || !p.secure)
	if status == http.StatusSeeOther && p.method != http.MethodHead ||
		p.method == http.MethodPost && (status == http.StatusMovedPermanently || status == http.StatusFound) {
		next.method = http.MethodGet
	}
	return next, nil
}

// agentLine tells the service who asks, where the configuration does not.
const agentLine = "User-Agent: atalaya\r\n"

// headers are the configured header lines, as sent and as shown.
type headers struct{ sent, shown string }

func newHeaders(all []Header) headers {
	var h headers
	if !slices.ContainsFunc(all, func(x Header) bool { return strings.EqualFold(x.Name, "User-Agent") }) {
		h = headers{sent: agentLine, shown: agentLine}
	}
	for _, x := range all {
		h.sent += x.Name + ": " + x.Value.Reveal() + "\r\n"
		h.shown += x.Name + ": " + secret.Redacted + "\r\n"
	}
	return h
}

// of gives the lines that go with p.
func (h headers) of(p *page) headers {
	if p.headers {
		return h
	}
	return headers{sent: agentLine, shown: agentLine}
}

// minPart is from how many bytes on a part of a header's value counts as a secret of its own.
const minPart = 8

// secretsOf knows the values of headers, and the parts that a server may show without the rest: the token after
// "Bearer", the values of cookies, what "Basic" encodes.
func secretsOf(all []Header) *secret.Set {
	set := new(secret.Set)
	for _, h := range all {
		value := h.Value.Reveal()
		set.Add(h.Value)
		for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune(" ;,=\"", r) }) {
			if len(part) >= minPart {
				set.Add(secret.New(part))
			}
		}
		if scheme, encoded, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "Basic") {
			if text, err := base64.StdEncoding.DecodeString(encoded); err == nil {
				_, password, _ := strings.Cut(string(text), ":")
				set.Add(secret.New(string(text)))
				set.Add(secret.New(password))
			}
		}
	}
	return set
}

// peerAddr is the address that conn leads to, or def where conn does not say.
func peerAddr(conn net.Conn, def netip.Addr) netip.Addr {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			return addr.Unmap().WithZone(a.Zone)
		}
	}
	return def
}
