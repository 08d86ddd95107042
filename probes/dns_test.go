package probes

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// freePort gives a port that was free on addr for tcp and udp a moment ago.
func freePort(t *testing.T, addr string) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenPacket("udp", l.Addr().String())
		l.Close()
		if err == nil {
			u.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// daemon starts a server and ends it with the test.
func daemon(t *testing.T, argv ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var out strings.Builder
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", argv[0], out.String())
		}
	})
}

// listening waits until something listens on port.
func listening(t *testing.T, addr string, port int) {
	t.Helper()
	within(t, "listening", func() bool {
		c, err := net.Dial("tcp", net.JoinHostPort(addr, fmt.Sprint(port)))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func TestDNSOfDnsmasq(t *testing.T) {
	t.Parallel()
	rig.Require(t, "dnsmasq")
	port := freePort(t, "127.0.0.1")
	argv := []string{"dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--port=" + fmt.Sprint(port),
		"--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=" + filepath.Join(t.TempDir(), "pid"), "--user=",
		"--local=/example.org/", "--host-record=www.example.org,10.0.0.5,2001:db8::5", "--cname=alias.example.org,www.example.org",
		"--mx-host=example.org,mail.example.org,10", "--txt-record=example.org,v=spf1 -all"}
	for i := range 60 {
		argv = append(argv, fmt.Sprintf("--txt-record=big.example.org,%d%s", i, strings.Repeat("x", 200)))
	}
	daemon(t, argv...)
	listening(t, "127.0.0.1", port)
	for _, c := range []struct {
		spec Spec
		want health.Outcome
		says string
	}{
		{Spec{Query: "www.example.org"}, health.Pass, "www.example.org. A is 10.0.0.5 after "},
		{Spec{Query: "WWW.example.org.", Answers: []string{"10.0.0.5"}}, health.Pass, "is 10.0.0.5"},
		{Spec{Query: "www.example.org", QueryType: "aaaa", Answers: []string{"2001:DB8:0::5"}}, health.Pass, "2001:db8::5"},
		{Spec{Query: "www.example.org", Answers: []string{"10.0.0.6"}}, health.Fail, `www.example.org. A has no record "10.0.0.6"`},
		{Spec{Query: "alias.example.org", Answers: []string{"www.example.org", "10.0.0.5"}}, health.Pass, "www.example.org., 10.0.0.5"},
		{Spec{Query: "example.org", QueryType: "MX", Answers: []string{"10 mail.example.org"}}, health.Pass, "10 mail.example.org."},
		{Spec{Query: "example.org", QueryType: "TXT", Answers: []string{"v=spf1 -all"}}, health.Pass, "v=spf1"},
		{Spec{Query: "www.example.org", Network: "tcp"}, health.Pass, "10.0.0.5"},
		{Spec{Query: "big.example.org", QueryType: "TXT"}, health.Pass, "big.example.org. TXT is "},
		{Spec{Query: "none.example.org"}, health.Fail, "NXDOMAIN for none.example.org. A after "},
		{Spec{Query: "none.example.org", Rcode: "nxdomain"}, health.Pass, "NXDOMAIN for none.example.org. A"},
		{Spec{Query: "www.example.org", Rcode: "NXDOMAIN"}, health.Fail, "NOERROR for www.example.org. A"},
		{Spec{Query: "example.org"}, health.Fail, "NOERROR for example.org. A after "},
		{Spec{Query: "example.com"}, health.Fail, "REFUSED"},
	} {
		c.spec.Kind, c.spec.Target, c.spec.Port = DNS, "127.0.0.1", port
		r := once(t, c.spec, Guest{})
		expect(t, r, c.want, c.says)
		holds(t, r, "--- ask 127.0.0.1:", ";; QUESTION SECTION")
		if strings.HasPrefix(c.spec.Query, "big.") {
			holds(t, r, "asked again over tcp")
		}
	}
}

// answers serves UDP; each datagram is answered by what f gives for it.
func answers(t *testing.T, f func(q []byte) [][]byte) *net.UDPAddr {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, reply := range f(append([]byte(nil), buf[:n]...)) {
				c.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr)
}

func TestDNSHostileAnswers(t *testing.T) {
	t.Parallel()
	good := func(q []byte) []byte {
		m := new(dns.Msg)
		if err := m.Unpack(q); err != nil {
			return nil
		}
		rr, err := dns.NewRR(m.Question[0].Name + " 1 IN A 10.0.0.5")
		if err != nil {
			panic(err)
		}
		reply := new(dns.Msg).SetReply(m)
		reply.Answer = []dns.RR{rr}
		out, _ := reply.Pack()
		return out
	}
	lost := 0
	for name, c := range map[string]struct {
		answer func(q []byte) [][]byte
		want   health.Outcome
		says   string
	}{
		"garbage":      {func(q []byte) [][]byte { return [][]byte{append(q[:2:2], "\xff\xff\xff\xff\xff"...)} }, health.Fail, "is no DNS message"},
		"empty":        {func([]byte) [][]byte { return [][]byte{{}, {1}} }, health.Fail, "no answer within"},
		"the question": {func(q []byte) [][]byte { return [][]byte{q} }, health.Fail, "no answer within"},
		"another id": {func(q []byte) [][]byte {
			other := good(q)
			other[0]++
			other[3] |= dns.RcodeNameError // would fail, were it believed
			return [][]byte{other, good(q)}
		}, health.Pass, "10.0.0.5"},
		"another name": {func(q []byte) [][]byte {
			other := append([]byte(nil), good(q)...)
			other[13]++
			other[3] |= dns.RcodeNameError
			return [][]byte{other, good(q)}
		}, health.Pass, "10.0.0.5"},
		"one packet lost": {func(q []byte) [][]byte {
			if lost++; lost == 1 {
				return nil
			}
			return [][]byte{good(q)}
		}, health.Pass, "10.0.0.5"},
		"silent": {func([]byte) [][]byte { return nil }, health.Fail, "no answer within"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Spec{Kind: DNS, Target: answers(t, c.answer).String(), Query: "www.example.org"}
			if c.want == health.Fail {
				s.Timeout = 1200 * time.Millisecond
			}
			expect(t, once(t, s, Guest{}), c.want, c.says)
		})
	}
}

func TestDNSRefused(t *testing.T) {
	t.Parallel()
	port := freePort(t, "127.0.0.1")
	for _, network := range []string{"udp", "tcp"} {
		r := once(t, Spec{Kind: DNS, Target: "127.0.0.1", Port: port, Query: "example.org", Network: network}, Guest{})
		expect(t, r, health.Fail, "connection refused")
	}
}
