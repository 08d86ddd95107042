package probes

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"atalaya/agent/health"
)

func TestTargetFindsAddress(t *testing.T) {
	t.Parallel()
	guest := Guest{Addrs: addrs("127.0.0.1/8 lo", "fe80::5/64 eth0", "10.0.0.5/24 eth0", "2001:db8::5/64 eth0",
		"10.7.0.5/24 eth1", "192.0.2.9/24 eth0.100", "192.0.2.10/32 venet0:0", "::ffff:10.8.0.1/112 eth2")}
	inside := guest
	inside.Dial = (&trial{}).never
	for _, c := range []struct {
		target, family string
		guest          Guest
		want           string // address, or words of the error
	}{
		{"", "", guest, "10.0.0.5"},
		{"auto", "ipv4", guest, "10.0.0.5"},
		{"auto", "ipv6", guest, "2001:db8::5"},
		{"auto", "ipv6", Guest{Addrs: addrs("10.0.0.5/24 eth0")}, "the guest has no ipv6 address that is global"},
		{"auto", "", Guest{Addrs: addrs("127.0.0.1/8 lo", "::1/128 lo", "fe80::1/64 eth0", "169.254.1.1/16 eth0", "224.0.0.1/8 eth0")}, "no address that is global"},
		{"auto", "", Guest{}, "no address that is global"},
		{"10.7.0.0/16", "", guest, "10.7.0.5"},
		{"10.7.0.99/16", "", guest, "10.7.0.5"},
		{"10.8.0.0/16", "", guest, "10.8.0.1"},
		{"10.9.0.0/16", "", guest, "no address within 10.9.0.0/16"},
		{"2001:db8::/32", "", guest, "2001:db8::5"},
		{"fe80::/10", "", guest, "means nothing outside the guest"},
		{"fe80::/10", "", inside, "fe80::5%eth0"},
		{"127.0.0.0/8", "", guest, "means nothing outside the guest"},
		{"127.0.0.0/8", "", inside, "127.0.0.1"},
		{"eth1", "", guest, "10.7.0.5"},
		{"eth0", "ipv6", guest, "2001:db8::5"},
		{"eth1", "ipv6", guest, "no ipv6 address on interface eth1"},
		{"eth0.100", "", guest, "192.0.2.9"},
		{"venet0:0", "", guest, "192.0.2.10"},
		{"lo", "", guest, "no address on interface lo"},
		{"eth9", "", guest, `the guest has no interface "eth9"`},
		{"203.0.113.7", "", guest, "203.0.113.7"},
		{"203.0.113.7:8080", "", guest, "203.0.113.7"},
		{"[2001:db8::7]:8080", "", guest, "2001:db8::7"},
		{"fe80::7%br0", "", guest, "fe80::7%br0"},
		{"127.0.0.1:8080", "", guest, "127.0.0.1"},
		{"127.0.0.1:8080", "", inside, "this host's own address"},
		{"localhost", "ipv4", guest, "127.0.0.1"},
	} {
		at, err := parseTarget(c.target, c.family)
		if err != nil {
			t.Errorf("%q: %v", c.target, err)
			continue
		}
		got, err := at.find(t.Context(), c.guest, &trial{})
		switch {
		case err != nil && (!isUnsure(err) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q %s: %v, want %s", c.target, c.family, err, c.want)
		case err == nil && got[0].String() != c.want:
			t.Errorf("%q %s: %v, want %s", c.target, c.family, got, c.want)
		}
	}
}

// A probe without an address is unsure, of every kind.
func TestNoAddressIsUnsure(t *testing.T) {
	t.Parallel()
	for _, s := range []Spec{{Kind: ICMP}, {Kind: TCP, Port: 80}, {Kind: HTTP}, {Kind: HTTPS}, {Kind: TLS}, {Kind: DNS, Query: "example.org"}} {
		expect(t, once(t, s, Guest{Addrs: addrs("fe80::1/64 eth0")}), health.Unsure, "the guest has no address that is global")
	}
}

// An answer of the guest's own address book must stay an address.
func TestTargetIgnoresBrokenAddresses(t *testing.T) {
	t.Parallel()
	g := Guest{Addrs: []health.Addr{{}, {Prefix: netip.Prefix{}, Iface: "auto"}, {Iface: "eth0"}}}
	expect(t, once(t, Spec{Kind: TCP, Port: 80}, g), health.Unsure, "no address")
}

// never is a dialer that is not called.
func (*trial) never(context.Context, string, string) (net.Conn, error) { panic("dialled") }
