package probes

import (
	"context"
	"crypto/tls"
	"strings"
)

// A tlsCheck makes a TLS handshake and looks at the certificates.
type tlsCheck struct {
	at    target
	port  int
	trust *trust
}

func newTLS(s Spec) (check, error) {
	at, err := parseTarget(s.Target, s.Family)
	if err != nil {
		return nil, err
	}
	c := &tlsCheck{at: at, port: s.port(at)}
	if c.trust, err = newTrust(s); err != nil {
		return nil, err
	}
	return c.run, nil
}

func (c *tlsCheck) run(ctx context.Context, g Guest, t *trial) (string, error) {
	addrs, err := c.at.find(ctx, g, t)
	if err != nil {
		return "", err
	}
	conn, err := t.connect(ctx, g, "tcp", addrs, c.port)
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
	defer secured.Close()
	return tls.VersionName(secured.ConnectionState().Version) + " with " + conn.RemoteAddr().String() +
		", certificate until " + t.result.CertExpires.UTC().Format(dayLayout) + t.after(), nil
}
