package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// maxCAFile bounds a file of authorities, in bytes.
const maxCAFile = 1 << 20

// A trust says which certificates are good.
type trust struct {
	config   *tls.Config // never changed after it was made
	name     string      // sent and verified; empty: what the caller says
	roots    *x509.CertPool
	insecure bool
	warn     time.Duration // below zero: never
}

func newTrust(s Spec, protocols ...string) (*trust, error) {
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	return &trust{
		name: s.ServerName, roots: roots, insecure: s.Insecure, warn: or(s.ExpiryWarning, DefaultExpiryWarning),
		config: &tls.Config{ServerName: s.ServerName, RootCAs: roots, NextProtos: protocols,
			InsecureSkipVerify: s.Insecure}, //nolint:gosec // G402: configured so, and every result of it says so
	}, nil
}

// roots gives the authorities of s; without a file nil, the system's.
func (s Spec) roots() (*x509.CertPool, error) {
	if s.CAFile == "" || s.Roots != nil {
		return s.Roots, nil
	}
	return Authorities(s.CAFile)
}

// Authorities reads a PEM file for Spec.Roots, so that a Spec can be used where nothing may wait for a disk.
func Authorities(path string) (*x509.CertPool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxCAFile {
		return nil, fmt.Errorf("%q is not a regular file of at most %d bytes", path, maxCAFile)
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%q holds no certificate in PEM form", path)
	}
	return pool, nil
}

// handshake makes a TLS connection of conn, which hold bounds. What it learns about the chain, it leaves in t.
func (tr *trust) handshake(conn net.Conn, name string, t *trial) (*tls.Conn, error) {
	began := time.Now()
	config := tr.config
	if tr.name == "" {
		config = config.Clone()
		config.ServerName = name
	} else {
		name = tr.name
	}
	secured := tls.Client(conn, config)
	err := secured.HandshakeContext(context.Background()) // a context with an end would cost a goroutine
	t.result.Phases.TLS += time.Since(began)
	state := secured.ConnectionState()
	chain := state.PeerCertificates
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		chain = bad.UnverifiedCertificates
	}
	t.logChain(&state, chain)
	t.result.CertExpires = expiry(chain, state.VerifiedChains)
	if err != nil {
		return nil, handshakeErr(conn.RemoteAddr().String(), name, began, err, chain)
	}
	if tr.insecure {
		t.result.Warning = tr.wouldFail(name, chain)
	}
	t.warnExpiry(tr.warn)
	return secured, nil
}

// wouldFail says that nothing was verified, and what that hid.
func (tr *trust) wouldFail(name string, chain []*x509.Certificate) string {
	const said = "certificate not verified, as insecure says"
	if len(chain) == 0 {
		return said
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: tr.roots, Intermediates: between, DNSName: name})
	if err == nil {
		return said + "; it is good"
	}
	return said + "; it would fail: " + certWords(err, chain)
}

// handshakeErr says why there is no TLS connection.
func handshakeErr(peer, name string, began time.Time, err error, chain []*x509.Certificate) error {
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		failed := fmt.Errorf("certificate of %s does not verify for %q: %s", peer, name, certWords(bad.Err, chain))
		if !ofService(bad.Err) {
			return unsure{failed}
		}
		return failed
	}
	return stepErr("TLS handshake with "+peer, began, err)
}
