package probes

import (
	"fmt"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// What this host's own routing table refuses is unsure, in all its ways to say so.
func TestNoRouteIsUnsure(t *testing.T) {
	if !isolated(t) {
		return
	}
	must(t, "ip", "route", "add", "unreachable", "198.51.100.0/24")
	must(t, "ip", "route", "add", "prohibit", "203.0.113.0/24")
	must(t, "ip", "route", "add", "blackhole", "192.0.2.0/24")
	for addr, says := range map[string]string{
		"10.1.2.3":           "network is unreachable",
		"2001:db8::1":        "network is unreachable",
		"198.51.100.1":       "no route to host",
		"203.0.113.1":        "permission denied",
		"192.0.2.1":          "invalid argument",
		"fe80::1%nosuchlink": "",
	} {
		for _, s := range []Spec{{Kind: TCP, Port: 80}, {Kind: HTTP}, {Kind: DNS, Query: "a.b"}, {Kind: DNS, Query: "a.b", Network: "tcp"}, {Kind: ICMP}} {
			s.Target = addr
			expect(t, once(t, s, Guest{}), health.Unsure, says)
		}
	}
}

// What neighbour discovery or a router says about the way to the guest is a failure.
func TestUnreachableGuestFails(t *testing.T) {
	if !isolated(t) {
		return
	}
	router := unshared(t)
	must(t, "ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", fmt.Sprintf("/proc/%d/task/%d/ns/net", syscall.Getpid(), router.tid))
	for _, key := range []string{"ipv4/neigh/near/", "ipv6/neigh/near/"} {
		sysctl(t, key+"mcast_solicit", "1")
		sysctl(t, key+"retrans_time_ms", "100")
	}
	must(t, "ip", "addr", "add", "10.99.0.1/24", "dev", "near")
	must(t, "ip", "addr", "add", "2001:db8:99::1/64", "dev", "near", "nodad")
	must(t, "ip", "link", "set", "near", "up")
	router.do(func() {
		must(t, "ip", "addr", "add", "10.99.0.2/24", "dev", "far")
		must(t, "ip", "addr", "add", "2001:db8:99::2/64", "dev", "far", "nodad")
		must(t, "ip", "link", "set", "far", "up")
		sysctl(t, "ipv4/icmp_ratelimit", "0")
		sysctl(t, "ipv6/icmp/ratelimit", "0")
		sysctl(t, "ipv4/conf/all/forwarding", "1")
		sysctl(t, "ipv6/conf/all/forwarding", "1")
		must(t, "ip", "route", "add", "prohibit", "203.0.113.0/24")
		must(t, "ip", "route", "add", "unreachable", "198.51.100.0/24")
		must(t, "ip", "-6", "route", "add", "prohibit", "2001:db8:1::/64")
	})
	must(t, "ip", "route", "add", "default", "via", "10.99.0.2")
	must(t, "ip", "-6", "route", "add", "default", "via", "2001:db8:99::2")
	within(t, "the link", func() bool { return dialable("10.99.0.2:9") && dialable("[2001:db8:99::2]:9") })

	for addr, says := range map[string]string{
		"10.99.0.77":       "no route to host",       // nobody there: ARP fails
		"2001:db8:99::77":  "no route to host",       // likewise
		"192.0.2.1":        "network is unreachable", // the router has no route
		"198.51.100.1":     "no route to host",       // the router's own unreachable
		"203.0.113.1":      "no route to host",       // administratively prohibited, code 13
		"2001:db8:1::1":    "permission denied",      // administratively prohibited
		"10.99.0.2":        "connection refused",     // the router itself, no server
		"[2001:db8:99::2]": "connection refused",     //
	} {
		expect(t, once(t, Spec{Kind: TCP, Target: addr, Port: 80}, Guest{}), health.Fail, "connect to ", says)
	}
	for addr, says := range map[string]string{"10.99.0.77": "no route to host", "2001:db8:99::77": "no route to host", "198.51.100.1": "no route to host",
		"192.0.2.1": "network is unreachable"} {
		expect(t, once(t, Spec{Kind: ICMP, Target: addr}, Guest{}), health.Fail, "ping "+addr, says)
		expect(t, once(t, Spec{Kind: DNS, Target: addr, Query: "a.b"}, Guest{}), health.Fail, "for a.b. A: "+says)
	}
	expect(t, once(t, Spec{Kind: ICMP, Target: "10.99.0.2"}, Guest{}), health.Pass, "answer from 10.99.0.2")

	// A black hole behind the router: nothing comes back at all.
	router.do(func() { must(t, "ip", "route", "add", "blackhole", "192.0.2.0/24") })
	s := Spec{Kind: ICMP, Target: "192.0.2.1", Timeout: 1500 * time.Millisecond}
	expect(t, once(t, s, Guest{}), health.Fail, "ping 192.0.2.1 (2 sent): no answer within 1.5 s")
	expect(t, once(t, Spec{Kind: TCP, Target: "192.0.2.1:80", Timeout: 300 * time.Millisecond}, Guest{}), health.Fail, "no answer within")

	// The guest's own link-local address, with the host's interface as its zone.
	local := router.linkLocal(t, "far")
	expect(t, once(t, Spec{Kind: ICMP, Target: local + "%near"}, Guest{}), health.Pass, local+"%near")
	router.serve(t, "["+local+"%far]:8080")
	expect(t, once(t, Spec{Kind: TCP, Target: "[" + local + "%near]:8080"}, Guest{}), health.Pass, local)

	// From inside: the address is not reachable from this host at all, and the dialer goes there.
	router.do(func() {
		must(t, "ip", "link", "set", "lo", "up")
		must(t, "ip", "addr", "add", "10.123.0.5/32", "dev", "lo")
	})
	router.serve(t, "10.123.0.5:80")
	inside := Guest{Dial: router.dial, Addrs: addrs("10.123.0.5/32 eth0")}
	expect(t, once(t, Spec{Kind: TCP, Port: 80}, inside), health.Pass, "connected to 10.123.0.5:80")
	expect(t, once(t, Spec{Kind: HTTP}, inside), health.Fail, "GET / from 10.123.0.5:80: ")
	expect(t, once(t, Spec{Kind: ICMP}, inside), health.Pass, "answer from 10.123.0.5")
	expect(t, once(t, Spec{Kind: TCP, Target: "10.124.0.0/16", Port: 80}, Guest{Dial: router.dial, Addrs: addrs("10.124.0.5/16 eth0")}),
		health.Unsure, "this host itself has no route")
}

// Without a network there is no resolver either.
func TestResolverDownIsUnsure(t *testing.T) {
	if !isolated(t) {
		return
	}
	for _, kind := range []string{TCP, HTTP, TLS, ICMP} {
		s := Spec{Kind: kind, Target: "www.example.org", Timeout: 3 * time.Second}
		if kind == TCP {
			s.Port = 80
		}
		expect(t, once(t, s, Guest{}), health.Unsure, `resolve "www.example.org"`)
	}
}

// What this process lacks says nothing about the service.
func TestExhaustionIsUnsure(t *testing.T) {
	if !isolated(t) {
		return
	}
	at := serve(t, "127.0.0.1:0", func(c net.Conn) { c.Read(make([]byte, 1)) })
	expect(t, once(t, Spec{Kind: TCP, Target: target127(at)}, Guest{}), health.Pass)

	sysctl(t, "ipv4/ip_local_port_range", "40000 40001")
	var held []net.Conn
	for {
		c, err := net.Dial("tcp", target127(at))
		if err != nil {
			break
		}
		held = append(held, c)
	}
	expect(t, once(t, Spec{Kind: TCP, Target: target127(at)}, Guest{}), health.Unsure, "cannot assign requested address")
	for _, c := range held {
		c.Close()
	}
	sysctl(t, "ipv4/ip_local_port_range", "41000 60000")

	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	var got []Result
	for _, kind := range []string{TCP, HTTP, DNS, ICMP} {
		s := Spec{Kind: kind, Target: "127.0.0.1"}
		switch kind {
		case TCP:
			s.Port = at.Port
		case DNS:
			s.Query = "a.b"
		}
		got = append(got, once(t, s, Guest{}))
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	for _, r := range got {
		expect(t, r, health.Unsure, "too many open files")
	}
}

// With CAP_NET_RAW a raw socket serves, without it a ping socket where it is allowed, and else nothing.
func TestICMPPermissions(t *testing.T) {
	if !isolated(t) {
		return
	}
	var raw, denied, ping Result
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends without its capabilities
		var s Spec
		run := func(target string) Result {
			s = Spec{Name: "ping", Kind: ICMP, Target: target, Timeout: long}
			p, err := New(s)
			if err != nil {
				return Result{Detail: err.Error()}
			}
			return Run(t.Context(), s, p, Guest{})
		}
		raw = run("127.0.0.1")
		if err := dropCapabilities(); err != nil {
			done <- err
			return
		}
		denied = run("127.0.0.1")
		done <- nil
		<-done
		ping = run("::1")
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	sysctl(t, "ipv4/ping_group_range", "0 0")
	done <- nil
	<-done
	expect(t, raw, health.Pass, "answer from 127.0.0.1")
	expect(t, denied, health.Unsure, "not permitted", "net.ipv4.ping_group_range", "CAP_NET_RAW")
	expect(t, ping, health.Pass, "answer from ::1")
	expect(t, once(t, Spec{Kind: ICMP, Target: "127.0.0.1"}, Guest{}), health.Pass, "answer from 127.0.0.1")
}

// dropCapabilities takes all effective capabilities from this thread.
func dropCapabilities() error {
	var data [2]unix.CapUserData
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
}
