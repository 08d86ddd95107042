package probes

import (
	"context"
	"net"
	"net/netip"
	"time"

	"atalaya/agent/health"
)

// A Guest is what a probe is aimed at, handed in by the caller at each run.
type Guest struct {
	// Addrs are the guest's addresses, in the order in which its engine gives them. They are the guest's own word.
	Addrs []health.Addr

	// Dial makes every connection of the run, where it is set: the vantage of the guest's network namespace. It is
	// called with tcp, udp, "ip4:icmp" and "ip6:ipv6-icmp", and addresses, never names. Nil: from this host.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Exec runs a command inside the guest. An error means that it could not be run, or that it did not end by itself;
	// exit is its exit code otherwise. Nil: this guest offers no way to do so.
	Exec func(ctx context.Context, argv []string) (exit int, out []byte, err error)
}

// A Result is what one run of a probe found.
type Result struct {
	Outcome     health.Outcome
	Detail      string        // one line for a person, without control characters, at most 300 bytes
	Took        time.Duration // the whole run
	Phases      Phases        //
	Peer        netip.Addr    // the address that was tried last; zero where none was
	Transcript  []byte        // evidence, at most 24 KiB; holds what the guest sent, control characters and all
	CertExpires time.Time     // when the first certificate of the chain expires; zero without TLS
	ExpiresSoon bool          // CertExpires is near enough to be warned of; Warning says so
	Warning     string        // what is well now and should be looked at; as bounded as Detail
}

// Phases says where the time went. A phase that was not reached is zero; over redirects they add up.
type Phases struct {
	Resolve   time.Duration // of a host name; zero for an address
	Connect   time.Duration // until the connection was made, of failed addresses too
	TLS       time.Duration // the handshake
	FirstByte time.Duration // from the request sent to the first byte, answer, echo or end of the command
}

// A Probe is one compiled Spec. It is safe for concurrent use. Call it through Run.
type Probe func(ctx context.Context, g Guest) Result

const (
	maxLine       = 300      // bytes of Detail and of Warning
	maxTranscript = 24 << 10 // bytes
)
