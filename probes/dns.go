package probes

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A dnsCheck asks one name server one question.
type dnsCheck struct {
	endpoint
	network string
	name    string
	qtype   uint16
	rcode   int
	answers []string // normalised
}

func newDNS(s Spec) (check, error) {
	to, err := s.endpoint()
	if err != nil {
		return nil, err
	}
	c := &dnsCheck{
		endpoint: to, network: or(s.Network, "udp"), name: dns.Fqdn(s.Query),
		qtype: dns.StringToType[strings.ToUpper(or(s.QueryType, "A"))],
		rcode: dns.StringToRcode[strings.ToUpper(or(s.Rcode, "NOERROR"))],
	}
	for _, a := range s.Answers {
		c.answers = append(c.answers, normal(a))
	}
	return c.run, nil
}

func (c *dnsCheck) run(ctx context.Context, g Guest, t *trial) (string, error) {
	addrs, err := c.find(ctx, g, t)
	if err != nil {
		return "", err
	}
	reply, err := c.ask(ctx, g, t, c.network, addrs[:1])
	if err == nil && reply.Truncated && c.network == "udp" {
		t.log.add("--- the answer was cut; asked again over tcp\n")
		reply, err = c.ask(ctx, g, t, "tcp", addrs[:1])
	}
	if err != nil {
		return "", err
	}
	return c.judge(reply, t)
}

// ask sends the question until an answer to it comes.
func (c *dnsCheck) ask(ctx context.Context, g Guest, t *trial, network string, addrs []netip.Addr) (*dns.Msg, error) {
	conn, err := t.connect(ctx, g, network, addrs, c.port)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer hold(ctx, conn)()
	hearErrors(conn)
	d := &dialogue{conn: conn, stream: network == "tcp", query: new(dns.Msg).SetQuestion(c.name, c.qtype)}
	peer, began := conn.RemoteAddr().String(), time.Now()
	doing := "ask " + peer + " (" + network + ") for " + c.name + " " + dns.TypeToString[c.qtype]
	t.log.add("--- ", doing, "\n")
	for {
		sent := time.Now()
		if err = d.send(); err == nil {
			err = d.patience(ctx)
		}
		var reply *dns.Msg
		if err == nil {
			reply, err = d.receive()
		}
		if err == nil {
			t.result.Phases.FirstByte += time.Since(sent)
			t.log.add(reply.String(), "\n")
			return reply, nil
		}
		if d.stream || !timedOut(err) || over(ctx) {
			return nil, stepErr(doing, began, err)
		}
	}
}

// judge looks at the answer.
func (c *dnsCheck) judge(reply *dns.Msg, t *trial) (string, error) {
	what := c.name + " " + dns.TypeToString[c.qtype]
	code := dns.RcodeToString[reply.Rcode]
	if code == "" {
		code = "RCODE " + strconv.Itoa(reply.Rcode)
	}
	var got []string
	for _, rr := range reply.Answer {
		got = append(got, data(rr))
	}
	switch {
	case reply.Rcode != c.rcode:
		return "", fmt.Errorf("%s for %s%s, expected %s", code, what, t.after(), dns.RcodeToString[c.rcode])
	case c.rcode == dns.RcodeSuccess && len(got) == 0:
		return "", fmt.Errorf("%s for %s%s, but no record", code, what, t.after())
	}
	for _, want := range c.answers {
		if !slices.ContainsFunc(got, func(d string) bool { return normal(d) == want }) {
			return "", fmt.Errorf("%s has no record %q%s; it has %s", what, want, t.after(), strings.Join(got, ", "))
		}
	}
	if len(got) == 0 {
		return code + " for " + what + t.after(), nil
	}
	return what + " is " + strings.Join(got, ", ") + t.after(), nil
}

// data gives the data of a record as dig prints it: without name, TTL, class and type.
func data(rr dns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }

// normal makes record data comparable: case, final dots, blanks, the quotes of a single text, forms of an address.
func normal(s string) string {
	s = strings.ToLower(strings.Join(strings.Fields(s), " "))
	if ip := net.ParseIP(s); ip != nil {
		return ip.String()
	}
	if len(s) >= 2 && strings.HasPrefix(s, `"`) && strings.HasSuffix(s, `"`) && strings.Count(s, `"`) == 2 {
		s = s[1 : len(s)-1]
	}
	return strings.TrimSuffix(s, ".")
}

func (s Spec) validateDNS(f *faults) {
	if s.Query == "" {
		f.add("query", "is missing; write the name to ask for")
	} else if _, ok := dns.IsDomainName(s.Query); !ok || !isPlain(s.Query) {
		f.add("query", "%q is not a domain name", s.Query)
	}
	if _, ok := dns.StringToType[strings.ToUpper(or(s.QueryType, "A"))]; !ok {
		f.add("query_type", "%q is not a record type like A, AAAA, MX or TXT", s.QueryType)
	}
	rcode, ok := dns.StringToRcode[strings.ToUpper(or(s.Rcode, "NOERROR"))]
	if !ok {
		f.add("rcode", "%q is not a response code like NOERROR or NXDOMAIN", s.Rcode)
	}
	if ok && rcode != dns.RcodeSuccess && len(s.Answers) > 0 {
		f.add("answers", "there are none with rcode %s", s.Rcode)
	}
	if slices.ContainsFunc(s.Answers, func(a string) bool { return strings.TrimSpace(a) == "" }) {
		f.add("answers", "one is empty")
	}
	if s.Network != "" && s.Network != "udp" && s.Network != "tcp" {
		f.add("network", "%q is neither udp nor tcp", s.Network)
	}
}
