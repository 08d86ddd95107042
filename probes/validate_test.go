package probes

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/secret"
)

func TestValidateNamesTheField(t *testing.T) {
	t.Parallel()
	notPEM := filepath.Join(t.TempDir(), "not.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec Spec
		want string // all errors, one per line
	}{
		{Spec{}, "name: is missing; it is how alerts and metrics call this probe\nkind: \"\" is not one of icmp, tcp, http, https, tls, dns, exec"},
		{Spec{Name: "x\n", Kind: ICMP}, `name: "x\n" is longer than 64 bytes, or holds control characters`},
		{Spec{Name: "x", Kind: "tpc"}, `kind: "tpc" is not one of icmp, tcp, http, https, tls, dns, exec`},
		{Spec{Name: "x", Kind: TCP, Port: 70000}, "port: 70000 is not between 1 and 65535"},
		{Spec{Name: "x", Kind: TCP}, "port: is missing; a tcp probe has no usual one"},
		{Spec{Name: "x", Kind: TCP, Target: "10.0.0.1:80", Port: 81}, `port: is 81, and the target "10.0.0.1:80" names another`},
		{Spec{Name: "x", Kind: ICMP, Target: "10.0.0.1:80"}, `target: "10.0.0.1:80" names a port; icmp has none`},
		{Spec{Name: "x", Kind: ICMP, Port: 80, Send: "a"}, "port: does not belong to a probe of kind icmp, only to tcp, http, https, tls, dns\nsend: does not belong to a probe of kind icmp, only to tcp"},
		{Spec{Name: "x", Kind: ICMP, Target: "10.0.0.0/33"}, `target: "10.0.0.0/33" is not a CIDR like 10.0.0.0/24; a URL's path belongs into path`},
		{Spec{Name: "x", Kind: ICMP, Target: "10.0.0.0/8", Family: "ipv6"}, `target: "10.0.0.0/8" is not of family ipv6`},
		{Spec{Name: "x", Kind: ICMP, Family: "v6"}, `family: "v6" is not one of any, ipv4, ipv6`},
		{Spec{Name: "x", Kind: ICMP, Target: "a b"}, `target: "a b" holds blanks or control characters`},
		{Spec{Name: "x", Kind: ICMP, Target: "example.org:99999"}, `target: "example.org:99999": port "99999" is not a number between 1 and 65535`},
		{Spec{Name: "x", Kind: ICMP, Target: "a-name-without-any-dot"}, `target: "a-name-without-any-dot" is neither auto, a CIDR, an interface nor host:port`},
		{Spec{Name: "x", Kind: ICMP, Timeout: time.Hour}, "timeout: 1h0m0s is not between 1ms and 5m0s"},
		{Spec{Name: "x", Kind: ICMP, Timeout: 10}, "timeout: 10ns is not between 1ms and 5m0s"},
		{Spec{Name: "x", Kind: TCP, Port: 1, Expect: "("}, "expect: error parsing regexp: missing closing ): `(`"},
		{Spec{Name: "x", Kind: HTTP, Status: "200-", Body: "[", BodyCap: -1, Follow: 11, Path: "a", Method: "A B", Host: "a/b"},
			"method: \"A B\" is not an HTTP method that can be asked for\npath: \"a\" is not a path that begins with / and is percent-encoded\n" +
				"host: \"a/b\" is neither a name nor name:port\nstatus: \"200-\": \"\" is not a number; write it like \"200-299,401\"\n" +
				"body: error parsing regexp: missing closing ]: `[`\nbody_cap: -1 is not between 1 and 16777216 bytes\nfollow: 11 is not between 0 and 10 redirects"},
		{Spec{Name: "x", Kind: HTTP, Path: "/a b"}, `path: "/a b" holds ' ', which must be percent-encoded`},
		{Spec{Name: "x", Kind: HTTP, Method: "HEAD", Body: "x"}, "body: an answer to HEAD has none"},
		{Spec{Name: "x", Kind: HTTP, Headers: []Header{{"Host", secret.New("a")}, {"A:", secret.New("a")}, {"B", secret.New("se\ncret")}}},
			"headers: \"Host\" is written by the probe itself; the field host sets the Host header\nheaders: \"A:\" is not a header name\n" +
				"headers: the value of \"B\" holds line breaks or control characters"},
		{Spec{Name: "x", Kind: HTTP, Insecure: true}, "kind: http without follow never meets a certificate; use https, or drop server_name, ca_file, insecure and expiry_warning"},
		{Spec{Name: "x", Kind: TLS, ServerName: "a b", CAFile: "/nonexistent"}, "server_name: \"a b\" is neither a host name nor an address\nca_file: stat /nonexistent: no such file or directory"},
		{Spec{Name: "x", Kind: TLS, CAFile: notPEM}, `ca_file: "` + notPEM + `" holds no certificate in PEM form`},
		{Spec{Name: "x", Kind: TLS, CAFile: "/dev/zero"}, `ca_file: "/dev/zero" is not a regular file of at most 1048576 bytes`},
		{Spec{Name: "x", Kind: DNS, QueryType: "B", Rcode: "BAD", Network: "sctp"}, "query: is missing; write the name to ask for\n" +
			"query_type: \"B\" is not a record type like A, AAAA, MX or TXT\nrcode: \"BAD\" is not a response code like NOERROR or NXDOMAIN\nnetwork: \"sctp\" is neither udp nor tcp"},
		{Spec{Name: "x", Kind: DNS, Query: "a..b", Answers: []string{" "}}, "query: \"a..b\" is not a domain name\nanswers: one is empty"},
		{Spec{Name: "x", Kind: DNS, Query: "a.b", Rcode: "NXDOMAIN", Answers: []string{"1.2.3.4"}}, "answers: there are none with rcode NXDOMAIN"},
		{Spec{Name: "x", Kind: Exec, Target: "eth0", Exits: "256"}, "target: does not belong to a probe of kind exec, only to icmp, tcp, http, https, tls, dns\n" +
			"argv: is missing; write the command as a list, like [pg_isready, -q]\nexits: \"256\": 256 is not between 0 and 255; write it like \"200-299,401\""},
	} {
		errs := c.spec.Validate()
		if got := errors.Join(errs...); got == nil || got.Error() != c.want {
			t.Errorf("%+v:\n%v\nwant\n%s", c.spec, got, c.want)
		}
		for _, err := range errs {
			f, ok := errors.AsType[*FieldError](err)
			if !ok || !strings.HasPrefix(err.Error(), f.Field+": ") {
				t.Errorf("%v does not name its field", err)
			}
		}
		if _, err := New(c.spec); err == nil {
			t.Errorf("%+v: New takes it", c.spec)
		}
	}
}

// Every field is in the manual, and in the table of kinds.
func TestManual(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../docs/probes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields() {
		if !strings.Contains(string(manual), "`"+f.name+"`") {
			t.Errorf("docs/probes.md does not tell of the field %q", f.name)
		}
	}
	for _, k := range Kinds() {
		if !strings.Contains(string(manual), "\n## "+k) {
			t.Errorf("docs/probes.md has no section on %q", k)
		}
	}
}
