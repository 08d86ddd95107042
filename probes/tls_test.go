package probes

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

func TestTLSCertificates(t *testing.T) {
	t.Parallel()
	ca, other := newSigner(t, "good"), newSigner(t, "other")
	year := 365 * day
	for name, c := range map[string]struct {
		cert tls.Certificate
		spec Spec
		want health.Outcome
		says string
		warn string
	}{
		"good":          {ca.issue(t, -day, year, "www.example.org"), Spec{ServerName: "www.example.org"}, health.Pass, "TLS 1.3 with 127.0.0.1:", ""},
		"good address":  {ca.issue(t, -day, year, "127.0.0.1"), Spec{}, health.Pass, "TLS 1.3", ""},
		"expired":       {ca.issue(t, -year, -day, "127.0.0.1"), Spec{}, health.Fail, `"127.0.0.1" expired 20`, ""},
		"not yet valid": {ca.issue(t, day, year, "127.0.0.1"), Spec{}, health.Fail, `"127.0.0.1" is not valid before 20`, ""},
		"wrong name":    {ca.issue(t, -day, year, "www.example.org"), Spec{ServerName: "mail.example.org"}, health.Fail, "valid for www.example.org, not mail.example.org", ""},
		"wrong address": {ca.issue(t, -day, year, "127.0.0.9"), Spec{}, health.Fail, "valid for 127.0.0.9, not 127.0.0.1", ""},
		"unknown":       {other.issue(t, -day, year, "127.0.0.1"), Spec{}, health.Fail, "signed by unknown authority", ""},
		"expires soon":  {ca.issue(t, -day, 3*day+time.Hour, "127.0.0.1"), Spec{}, health.Pass, "TLS 1.3", "certificate expires in 3 days, 20"},
		"soon for us":   {ca.issue(t, -day, 50*day+time.Hour, "127.0.0.1"), Spec{ExpiryWarning: 90 * day}, health.Pass, "", "expires in 50 days"},
		"never warned":  {ca.issue(t, -day, day, "127.0.0.1"), Spec{ExpiryWarning: -1}, health.Pass, "", ""},
		"insecure":      {other.issue(t, -year, -day, "127.0.0.1"), Spec{Insecure: true}, health.Pass, "TLS 1.3", "not verified, as insecure says; it would fail: \"127.0.0.1\" expired 20"},
		"insecure and good": {ca.issue(t, -day, 2*day+time.Hour, "127.0.0.1"), Spec{Insecure: true}, health.Pass, "TLS 1.3",
			"not verified, as insecure says; it is good; certificate expires in 2 days"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := secured(t, c.cert, nil, func(c net.Conn) {
				io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				c.Read(make([]byte, 1))
			})
			c.spec.CAFile, c.spec.Target = ca.file, target127(at)
			for _, kind := range []string{TLS, HTTPS} {
				c.spec.Kind = kind
				r := once(t, c.spec, Guest{})
				says := c.says
				if kind == HTTPS && c.want == health.Pass {
					says = "200 OK"
				}
				expect(t, r, c.want, says)
				if c.warn == "" && r.Warning != "" || !strings.Contains(r.Warning, c.warn) {
					t.Errorf("warning %q, want %q", r.Warning, c.warn)
				}
				holds(t, r, "--- certificate 0\nsubject: CN=", "issuer:  CN=", "valid:   20")
				leaf := c.cert.Leaf
				if soon := strings.Contains(r.Warning, "expires in"); r.ExpiresSoon != soon {
					t.Errorf("soon: %v, warning %q", r.ExpiresSoon, r.Warning)
				}
				if leaf != nil && !r.CertExpires.Equal(leaf.NotAfter) || r.CertExpires.IsZero() {
					t.Errorf("expires %v", r.CertExpires)
				}
				if r.Phases.TLS <= 0 {
					t.Errorf("phases %+v", r.Phases)
				}
			}
		})
	}
}

func TestTLSHandshakes(t *testing.T) {
	t.Parallel()
	ca := newSigner(t, "good")
	cert := ca.issue(t, -day, 365*day, "127.0.0.1")
	for name, c := range map[string]struct {
		at   *net.TCPAddr
		spec Spec
		want health.Outcome
		says string
	}{
		"TLS 1.2":       {secured(t, cert, &tls.Config{MaxVersion: tls.VersionTLS12}, func(net.Conn) {}), Spec{}, health.Pass, "TLS 1.2 with"},
		"TLS 1.1 only":  {secured(t, cert, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, func(net.Conn) {}), Spec{}, health.Fail, "protocol version"},
		"no TLS at all": {serve(t, "127.0.0.1:0", func(c net.Conn) { io.WriteString(c, "220 mail.example.org ESMTP\r\n") }), Spec{}, health.Fail, "does not look like a TLS handshake"},
		"closed":        {serve(t, "127.0.0.1:0", func(c net.Conn) { c.Read(make([]byte, 4096)) }), Spec{}, health.Fail, "TLS handshake with 127.0.0.1:"},
		"silent":        {serve(t, "127.0.0.1:0", func(c net.Conn) { io.Copy(io.Discard, c) }), Spec{Timeout: 300 * time.Millisecond}, health.Fail, ": no answer within"},
		"another protocol": {secured(t, cert, &tls.Config{NextProtos: []string{"imap"}}, func(net.Conn) {}), Spec{Kind: HTTPS}, health.Fail,
			"no application protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.spec.Kind, c.spec.CAFile, c.spec.Target = or(c.spec.Kind, TLS), ca.file, target127(c.at)
			expect(t, once(t, c.spec, Guest{}), c.want, c.says)
		})
	}
}

// The name that is sent is the Host of the request, unless server_name says otherwise.
func TestTLSServerName(t *testing.T) {
	t.Parallel()
	ca := newSigner(t, "good")
	cert := ca.issue(t, -day, 365*day, "www.example.org")
	names := make(chan string, 1)
	config := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- h.ServerName
		return nil, nil
	}}
	at := secured(t, cert, config, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n") })
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{Kind: HTTPS, Host: "www.example.org"}, "www.example.org"},
		{Spec{Kind: HTTPS, Host: "www.example.org:8443"}, "www.example.org"},
		{Spec{Kind: HTTPS, Host: "other.example.org", ServerName: "www.example.org"}, "www.example.org"},
		{Spec{Kind: TLS, ServerName: "www.example.org"}, "www.example.org"},
	} {
		c.spec.CAFile, c.spec.Target = ca.file, target127(at)
		expect(t, once(t, c.spec, Guest{}), health.Pass)
		if n := <-names; n != c.want {
			t.Errorf("%q was sent, want %q", n, c.want)
		}
	}
}
