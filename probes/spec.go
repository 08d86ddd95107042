package probes

import (
	"crypto/x509"
	"time"

	"atalaya/agent/secret"
)

// The kinds of probes.
const (
	ICMP  = "icmp"
	TCP   = "tcp"
	HTTP  = "http"
	HTTPS = "https"
	TLS   = "tls"
	DNS   = "dns"
	Exec  = "exec"
)

// The address families of Spec.Family.
const (
	AnyFamily = "any"
	IPv4      = "ipv4"
	IPv6      = "ipv6"
)

// Auto is the Target that means the guest's first global address.
const Auto = "auto"

// What holds where a Spec says nothing.
const (
	DefaultTimeout       = 3 * time.Second
	DefaultStatus        = "200-299"
	DefaultExits         = "0"
	DefaultBodyCap       = 64 << 10            // bytes
	DefaultExpiryWarning = 14 * 24 * time.Hour //
)

// The bounds of a Spec.
const (
	MaxTimeout = 5 * time.Minute
	MaxBodyCap = 16 << 20 // bytes
	MaxFollow  = 10       // redirects
)

// A Spec is one probe as configured. The comment of each field is its manual; a field that is set and does not belong to
// the Kind is an error of Validate. A Spec is a plain value: secrets in it print as [redacted].
type Spec struct {
	Name    string        // how people and metrics call it; required
	Kind    string        // icmp, tcp, http, https, tls, dns or exec; required
	Target  string        // auto (also ""), a CIDR, an interface of the guest, or host[:port] as seen from this host
	Family  string        // any (also ""), ipv4 or ipv6: which of the addresses
	Port    int           // 1 to 65535; 0: the target's, or 80, 443, 443, 53 for http, https, tls, dns
	Timeout time.Duration // bounds the whole run, up to MaxTimeout; 0: DefaultTimeout

	Send   string // tcp: bytes to send after the connection is made
	Expect string // tcp: regexp to be found in the first 16 KiB that come back

	Method  string   // http(s): GET when empty
	Path    string   // http(s): path and query, percent-encoded; "/" when empty
	Host    string   // http(s): the Host header, name or name:port; when empty the target as dialled
	Headers []Header // http(s): further request headers
	Status  string   // http(s): the good ones, "200-299,401"; DefaultStatus when empty
	Body    string   // http(s): regexp to be found in the first BodyCap bytes of the body
	BodyCap int      // http(s): bytes of the body read at most, up to MaxBodyCap; 0: DefaultBodyCap
	Follow  int      // http(s): redirects followed at most, up to MaxFollow, each asked of the same address; 0: none

	ServerName    string         // https, tls: the name sent and verified; when empty Host, the target's name or the address
	CAFile        string         // https, tls: PEM file of the authorities trusted instead of the system's
	Roots         *x509.CertPool // what Authorities read from CAFile; nil: it is read by whoever needs it
	Insecure      bool           // https, tls: a certificate that does not verify passes, and the Warning says so
	ExpiryWarning time.Duration  // https, tls: warn when the chain expires within it; 0: DefaultExpiryWarning, below 0: never

	Query     string   // dns: the name asked for; required
	QueryType string   // dns: A when empty
	Rcode     string   // dns: NOERROR when empty
	Answers   []string // dns: record data that the answer must hold, as dig prints it; when empty any record will do
	Network   string   // dns: udp (also "") or tcp

	Argv  []string // exec: the command inside the guest, never through a shell; required
	Exits string   // exec: the good exit codes, "0,2-3"; DefaultExits when empty
}

// A Header is one request header. Its value is taken for a secret, whatever it is: it appears in no transcript.
type Header struct {
	Name  string
	Value secret.Value
}

// limit is how long one run may take.
func (s Spec) limit() time.Duration { return or(s.Timeout, DefaultTimeout) }

// or gives v, or def where v is the zero value: nothing was said.
func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
