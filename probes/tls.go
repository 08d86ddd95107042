package probes

import (
	"context"
	"crypto/tls"
	"strings"
)

// A tlsCheck makes a TLS handshake and looks at the certificates.
type tlsCheck struct {
	endpoint
	trust *trust
}

func newTLS(s Spec) (check, error) {
	to, err := s.endpoint()
	if err != nil {
		return nil, err
	}
	trust, err := newTrust(s)
	return (&tlsCheck{endpoint: to, trust: trust}).run, err
}

func (c *tlsCheck) run(ctx context.Context, g Guest, t *trial) (string, error) {
	conn, addrs, err := c.reach(ctx, g, t)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	defer hold(ctx, conn)()
	name := c.at.name
	if name == "" {
		name = addrs[0].WithZone("").String()
	}
	secured, err := c.trust.handshake(conn, strings.TrimSuffix(name, "."), t)
	if err != nil {
		return "", err
	}
	defer func() { _ = secured.Close() }()
	return tls.VersionName(secured.ConnectionState().Version) + " with " + conn.RemoteAddr().String() +
		", certificate until " + t.result.CertExpires.UTC().Format(dayLayout) + t.after(), nil
}
