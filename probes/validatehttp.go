package probes

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// ownHeaders are written by the probe itself.
func ownHeaders() []string {
	return []string{"host", "connection", "content-length", "transfer-encoding", "upgrade", "expect", "trailer"}
}

func (s Spec) validateHTTP(f *faults) {
	if s.Method != "" && (!httpguts.ValidHeaderFieldName(s.Method) || s.Method == http.MethodConnect) {
		f.add("method", "%q is not an HTTP method that can be asked for", s.Method)
	}
	f.wrong("path", checkPath(or(s.Path, "/")))
	f.wrong("host", checkHost(s.Host))
	for _, h := range s.Headers {
		switch {
		case !httpguts.ValidHeaderFieldName(h.Name):
			f.add("headers", "%q is not a header name", h.Name)
		case slices.Contains(ownHeaders(), strings.ToLower(h.Name)):
			f.add("headers", "%q is written by the probe itself; the field host sets the Host header", h.Name)
		case !httpguts.ValidHeaderFieldValue(h.Value.Reveal()):
			f.add("headers", "the value of %q holds line breaks or control characters", h.Name)
		}
	}
	_, err := parseCodes(or(s.Status, DefaultStatus), 100, 599)
	f.wrong("status", err)
	_, err = regexp.Compile(s.Body)
	f.wrong("body", err)
	if s.Body != "" && s.Method == http.MethodHead {
		f.add("body", "an answer to HEAD has none")
	}
	if s.BodyCap < 0 || s.BodyCap > MaxBodyCap {
		f.add("body_cap", "%d is not between 1 and %d bytes", s.BodyCap, MaxBodyCap)
	}
	if s.Follow < 0 || s.Follow > MaxFollow {
		f.add("follow", "%d is not between 0 and %d redirects", s.Follow, MaxFollow)
	}
	if s.Kind == HTTP && s.Follow == 0 && (s.ServerName != "" || s.CAFile != "" || s.Insecure || s.ExpiryWarning != 0) {
		f.add("kind", "http without follow never meets a certificate; use https, or drop server_name, ca_file, insecure "+
			"and expiry_warning")
	}
}

func checkPath(path string) error {
	u, err := url.ParseRequestURI(path)
	if err != nil || !strings.HasPrefix(path, "/") || u.Host != "" && !strings.HasPrefix(path, "//") {
		return fmt.Errorf("%q is not a path that begins with / and is percent-encoded", path)
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] > '~' || path[i] == '#' {
			return fmt.Errorf("%q holds %q, which must be percent-encoded", path, path[i])
		}
	}
	return nil
}

func checkHost(host string) error {
	if host == "" {
		return nil
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, "80"
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 || n > 65535 || !isHost(name) && net.ParseIP(strings.Trim(name, "[]")) == nil {
		return fmt.Errorf("%q is neither a name nor name:port", host)
	}
	return nil
}

func (s Spec) validateTLS(f *faults) {
	if s.ServerName != "" && !isHost(s.ServerName) && net.ParseIP(s.ServerName) == nil {
		f.add("server_name", "%q is neither a host name nor an address", s.ServerName)
	}
	_, err := s.roots()
	f.wrong("ca_file", err)
}
