package probes

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
)

func TestTCPConnects(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", func(net.Conn) {})
	r := once(t, Spec{Kind: TCP, Target: target127(at)}, Guest{})
	expect(t, r, health.Pass, "connected to "+target127(at))
	if r.Phases.Connect <= 0 || r.Took < r.Phases.Connect {
		t.Errorf("phases %+v, took %v", r.Phases, r.Took)
	}
}

func TestTCPRefused(t *testing.T) {
	t.Parallel()
	port := strconv.Itoa(closedPort(t))
	r := once(t, Spec{Kind: TCP, Target: "127.0.0.1:" + port}, Guest{})
	expect(t, r, health.Fail, "connect to 127.0.0.1:"+port+": connection refused after ")
	holds(t, r, "connection refused")
}

func TestTCPOverIPv6(t *testing.T) {
	t.Parallel()
	at := serve(t, "[::1]:0", func(c net.Conn) { c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n")) })
	r := once(t, Spec{Kind: TCP, Target: at.String(), Expect: "^SSH-2"}, Guest{})
	expect(t, r, health.Pass, "[::1]", "SSH-2.0-OpenSSH_9.2")
}

func TestTCPToAName(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", func(net.Conn) {})
	r := once(t, Spec{Kind: TCP, Target: "localhost:" + strconv.Itoa(at.Port), Family: IPv4}, Guest{})
	expect(t, r, health.Pass)
	if r.Phases.Resolve <= 0 {
		t.Error("no time of the resolver")
	}
}

// A name with several addresses is tried to its end: localhost is often ::1 first, where nothing listens.
func TestConnectTriesEveryAddress(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", func(net.Conn) {})
	tr := &trial{log: clip{max: maxTranscript}}
	names := []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("127.0.0.77"), netip.MustParseAddr("127.0.0.1")}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	conn, err := tr.connect(ctx, Guest{}, "tcp", names, at.Port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.RemoteAddr().String() != target127(at) || !strings.Contains(string(tr.log.kept), "connect to [::1]:") {
		t.Errorf("connected to %v\n%s", conn.RemoteAddr(), tr.log.kept)
	}
	_, err = tr.connect(ctx, Guest{}, "tcp", names[:2], closedPort(t))
	if err == nil || isUnsure(err) || !strings.HasPrefix(err.Error(), "connect to [::1]:") {
		t.Errorf("%v, want the first address's refusal", err)
	}
}

func TestTCPSendExpect(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", func(c net.Conn) {
		buf := make([]byte, 64)
		n, _ := c.Read(buf)
		c.Write([]byte("+PO"))
		c.Write([]byte("NG " + strings.ToUpper(string(buf[:n]))))
		c.Read(buf) // until the probe hangs up
	})
	r := once(t, Spec{Kind: TCP, Target: target127(at), Send: "ping", Expect: `^\+PONG PING$`}, Guest{})
	expect(t, r, health.Pass, "+PONG PING")
	holds(t, r, "--- sent to", "ping", "--- received from", "+PONG PING")
	if r.Phases.FirstByte <= 0 {
		t.Error("no time of the first byte")
	}
	r = once(t, Spec{Kind: TCP, Target: target127(at), Send: "ping", Expect: `^-ERR`, Timeout: 300 * time.Millisecond}, Guest{})
	expect(t, r, health.Fail, `no match of "^-ERR" in the 10 bytes received`, "no answer within")
}

func TestTCPSendOnly(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	at := serve(t, "127.0.0.1:0", func(c net.Conn) {
		buf := make([]byte, 64)
		n, _ := c.Read(buf)
		got <- string(buf[:n])
	})
	expect(t, once(t, Spec{Kind: TCP, Target: target127(at), Send: "hello"}, Guest{}), health.Pass, "sent 5 bytes")
	if s := <-got; s != "hello" {
		t.Errorf("the server got %q", s)
	}
}

func TestTCPHostileAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(net.Conn)
		words  string
	}{
		"endless": {func(c net.Conn) {
			for {
				if _, err := c.Write([]byte(strings.Repeat("x", 4096))); err != nil {
					return
				}
			}
		}, "in the 16384 bytes received"},
		"closed at once": {func(net.Conn) {}, "the other side closed the connection"},
		"reset": {func(c net.Conn) {
			c.Write([]byte("a"))
			c.(*net.TCPConn).SetLinger(0)
		}, "connection reset by peer"},
		"control characters": {func(c net.Conn) { c.Write([]byte("\x1b[2J\x1b]0;owned\a\u202e")) }, "no match"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := serve(t, "127.0.0.1:0", c.answer)
			expect(t, once(t, Spec{Kind: TCP, Target: target127(at), Expect: "never"}, Guest{}), health.Fail, c.words)
		})
	}
}

// A server that drips one byte at a time must not cost one match for each of them.
func TestTCPDrip(t *testing.T) {
	t.Parallel()
	at := serve(t, "127.0.0.1:0", func(c net.Conn) {
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				return
			}
		}
	})
	s := Spec{Kind: TCP, Target: target127(at), Expect: "(x+x+)+y", Timeout: 500 * time.Millisecond}
	r := once(t, s, Guest{})
	expect(t, r, health.Fail, "no match")
	if r.Took > 10*time.Second {
		t.Errorf("took %v", r.Took)
	}
}
