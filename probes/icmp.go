package probes

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// echoEvery is how long an echo is awaited before another one is sent: one lost packet is no failure.
const echoEvery = time.Second

// An icmpCheck sends echo requests until one is answered.
type icmpCheck struct {
	endpoint
}

func newICMP(s Spec) (check, error) {
	to, err := s.endpoint()
	return (&icmpCheck{to}).run, err
}

func (c *icmpCheck) run(ctx context.Context, g Guest, t *trial) (string, error) {
	addrs, err := c.find(ctx, g, t)
	if err != nil {
		return "", err
	}
	addr := addrs[0]
	t.result.Peer = addr
	began := time.Now()
	conn, raw, err := openEcho(ctx, g, addr)
	if err != nil {
		step := stepErr("ping "+addr.String(), began, err)
		if unreachable(err) && !routed(ctx, g, netip.AddrPortFrom(addr, 7).String()) {
			return "", unsure{fmt.Errorf("%w: this host itself has no route there", step)}
		}
		return "", step
	}
	defer conn.Close()
	defer hold(ctx, conn)()
	hearErrors(conn)
	e := newEcho(addr, conn, raw)
	took, err := e.ping(ctx, t)
	t.result.Phases.FirstByte = took
	if err != nil {
		return "", stepErr("ping "+addr.String()+" ("+strconv.Itoa(e.sent)+" sent)", began, err)
	}
	return "answer from " + addr.String() + " after " + millis(took), nil
}

// An echo is one exchange with one address over one connected socket, on which only that address is heard.
type echo struct {
	conn   net.Conn   // its RemoteAddr is nil for a ping socket: the kernel gives no peer without a port
	addr   netip.Addr //
	six    bool
	header bool   // what is read begins with an IPv4 header: IPConn.Read, unlike ReadFrom, leaves it there
	id     int    // a ping socket's is the kernel's
	token  []byte // tells our answers from all others
	sent   int
}

func newEcho(addr netip.Addr, conn net.Conn, raw bool) *echo {
	token := make([]byte, 16)
	_, _ = rand.Read(token) // never fails, says its documentation
	return &echo{conn: conn, addr: addr, six: addr.Is6(), header: raw && addr.Is4(), id: int(token[0])<<8 | int(token[1]), token: token}
}

// ping gives the time from the latest request to the answer.
func (e *echo) ping(ctx context.Context, t *trial) (time.Duration, error) {
	for {
		sent := time.Now()
		if err := e.send(); err != nil {
			return 0, err
		}
		t.log.add("--- echo request ", strconv.Itoa(e.sent), " sent to ", e.addr.String(), "\n")
		until := sent.Add(echoEvery)
		if end, ok := ctx.Deadline(); ok && end.Before(until) {
			until = end
		}
		_ = e.conn.SetReadDeadline(until)
		if ctx.Err() != nil { // its end may have been overwritten by this deadline
			return 0, ctx.Err()
		}
		err := e.receive()
		if err == nil {
			took := time.Since(sent)
			t.log.add("--- echo reply after ", millis(took), "\n")
			return took, nil
		}
		t.log.add("--- ", because(err), " after ", millis(time.Since(sent)), "\n")
		if !timedOut(err) || over(ctx) {
			return 0, err
		}
	}
}

func (e *echo) send() error {
	e.sent++
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: e.id, Seq: e.sent, Data: e.token}}
	if e.six {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	packet, err := m.Marshal(nil) // the kernel makes the checksum of ICMPv6
	if err != nil {
		return unsure{err}
	}
	_, err = e.conn.Write(packet)
	return err
}

// receive reads until our answer comes. An error message (host unreachable) is the socket's error.
func (e *echo) receive() error {
	protocol, want := 1, icmp.Type(ipv4.ICMPTypeEchoReply)
	if e.six {
		protocol, want = 58, ipv6.ICMPTypeEchoReply
	}
	packet := make([]byte, 1500)
	for {
		n, err := e.conn.Read(packet)
		if err != nil {
			return err
		}
		m, err := icmp.ParseMessage(protocol, e.body(packet[:n]))
		if err != nil || m.Type != want {
			continue
		}
		if reply, ok := m.Body.(*icmp.Echo); ok && bytes.Equal(reply.Data, e.token) {
			return nil
		}
	}
}

// body drops the IPv4 header where there is one.
func (e *echo) body(packet []byte) []byte {
	if !e.header || len(packet) == 0 {
		return packet
	}
	return packet[min(int(packet[0]&0x0f)<<2, len(packet)):]
}

// errNoPermission says what would help.
var errNoPermission = errors.New("not permitted: add a group of this process to net.ipv4.ping_group_range, " +
	"or give it CAP_NET_RAW")
