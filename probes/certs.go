package probes

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strconv"
	"strings"
	"time"
)

const (
	day       = 24 * time.Hour
	dayLayout = "2006-01-02 15:04 MST"
	maxChain  = 10 // certificates shown
	maxNames  = 20 // names shown of each
)

// expiry gives when the chain ends to be good: of several verified ones the longest, of each the first to expire.
func expiry(sent []*x509.Certificate, verified [][]*x509.Certificate) time.Time {
	var last time.Time
	for _, chain := range verified {
		if end := firstEnd(chain); end.After(last) {
			last = end
		}
	}
	if last.IsZero() {
		return firstEnd(sent)
	}
	return last
}

func firstEnd(chain []*x509.Certificate) time.Time {
	var first time.Time
	for _, c := range chain {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}

// warnExpiry warns of a chain that ends within.
func (t *trial) warnExpiry(within time.Duration) {
	end := t.result.CertExpires
	left := time.Until(end)
	if end.IsZero() || within < 0 || left > within || left < 0 {
		return
	}
	said := "certificate expires in " + strconv.Itoa(int(left/day)) + " days, " + end.UTC().Format(dayLayout)
	if t.result.Warning != "" {
		said = t.result.Warning + "; " + said
	}
	t.result.Warning, t.result.ExpiresSoon = said, true
}

// certWords says what is wrong with a certificate, with its dates where they are the reason.
func certWords(err error, chain []*x509.Certificate) string {
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok && bad.Reason == x509.Expired {
		c := bad.Cert
		if c == nil && len(chain) > 0 {
			c = chain[0]
		}
		if c != nil {
			who := strconv.Quote(c.Subject.CommonName)
			if time.Now().Before(c.NotBefore) {
				return who + " is not valid before " + c.NotBefore.UTC().Format(dayLayout)
			}
			return who + " expired " + c.NotAfter.UTC().Format(dayLayout)
		}
	}
	return strings.TrimPrefix(err.Error(), "x509: ")
}

// logChain writes what a technician asks first: version, cipher, and who signed what until when.
func (t *trial) logChain(state *tls.ConnectionState, chain []*x509.Certificate) {
	if state.HandshakeComplete {
		t.log.add("--- ", tls.VersionName(state.Version), " ", tls.CipherSuiteName(state.CipherSuite), " ", state.NegotiatedProtocol, "\n")
	}
	for i, c := range chain[:min(len(chain), maxChain)] {
		t.log.add("--- certificate ", strconv.Itoa(i),
			"\nsubject: ", plain(c.Subject.String(), maxLine),
			"\nissuer:  ", plain(c.Issuer.String(), maxLine),
			"\nvalid:   ", c.NotBefore.UTC().Format(time.RFC3339), " to ", c.NotAfter.UTC().Format(time.RFC3339),
			"\nnames:   ", plain(names(c), maxLine), "\n")
	}
}

func names(c *x509.Certificate) string {
	all := c.DNSNames[:min(len(c.DNSNames), maxNames)]
	for _, ip := range c.IPAddresses[:min(len(c.IPAddresses), maxNames)] {
		all = append(all[:len(all):len(all)], ip.String())
	}
	return strings.Join(all, " ")
}
