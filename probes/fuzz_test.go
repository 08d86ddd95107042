package probes

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/miekg/dns"
)

func FuzzCodes(f *testing.F) {
	for _, s := range []string{"", "200", "200-299,401", " 200 - 299 , 401 ", "299-200", "+200", "-1", "0200", "200-300-400", "99999999999999999999", ",", "200,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := parseCodes(text, 100, 599)
		if err != nil {
			return
		}
		if set.has(99) || set.has(600) {
			t.Errorf("%q has what is not allowed", text)
		}
		found := false
		for n := 100; n < 600; n++ {
			found = found || set.has(n)
		}
		if !found || len(set.ranges) > maxRanges {
			t.Errorf("%q is %+v", text, set)
		}
		// What is written is what is meant: each part is in the set.
		for part := range strings.SplitSeq(text, ",") {
			again, err := parseCodes(part, 100, 599)
			if err != nil || !set.has(again.ranges[0][0]) || !set.has(again.ranges[0][1]) {
				t.Errorf("%q of %q: %v", part, text, err)
			}
		}
	})
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"auto", "", "10.0.0.0/24", "eth0", "venet0:0", "example.org:80", "[::1]:80", "fe80::1%br0", "::ffff:1.2.3.4/96", "[", "a:b:c", "%", "1.2.3.4:0"} {
		f.Add(s, "any")
	}
	f.Fuzz(func(t *testing.T, text, family string) {
		at, err := parseTarget(text, family)
		if err != nil {
			return
		}
		if at.port < 0 || at.port > 65535 || at.prefix.IsValid() && at.addr.IsValid() || at.name != "" && !isHost(at.name) {
			t.Errorf("%q is %+v", text, at)
		}
		if at.name != "" {
			return // nothing is to be looked up by a fuzzer
		}
		if found, err := at.find(t.Context(), Guest{Addrs: addrs("10.0.0.5/24 eth0", "2001:db8::5/64 eth1")}, &trial{}); err == nil && len(found) == 0 {
			t.Errorf("%q finds nothing, and says nothing", text)
		} else if err != nil && !isUnsure(err) {
			t.Errorf("%q: %v is not unsure", text, err)
		}
	})
}

// FuzzSpec holds that a Spec that Validate takes can be compiled, and that none panics.
func FuzzSpec(f *testing.F) {
	f.Add("http", "auto", "/", "www.example.org", "200-299", "a.*b", "10.0.0.5")
	f.Add("dns", "eth0", "example.org", "TXT", "NOERROR", "", "\"a b\"")
	f.Add("tcp", "10.0.0.1:22", "^SSH", "", "", "x", "")
	f.Fuzz(func(t *testing.T, kind, target, a, b, c, d, e string) {
		s := Spec{Name: "fuzz", Kind: kind, Target: target}
		switch kind {
		case TCP:
			s.Port, s.Expect, s.Send = 22, a, b
		case HTTP, HTTPS:
			s.Path, s.Host, s.Status, s.Body, s.ServerName, s.Follow = a, b, c, d, e, 1
		case DNS:
			s.Query, s.QueryType, s.Rcode, s.Answers = a, b, c, []string{d, e}
		case Exec:
			s.Target, s.Argv, s.Exits = "", []string{a, b}, c
		}
		errs := s.Validate()
		if _, err := New(s); (err == nil) != (len(errs) == 0) {
			t.Errorf("%+v: New says %v, Validate %v", s, err, errs)
		}
		if kind == HTTP && len(errs) == 0 {
			p := page{host: or(s.Host, "x"), path: or(s.Path, "/"), method: "GET"}
			if wire := string(p.request("")); strings.Count(wire, "\n") != 4 {
				t.Errorf("a request of more lines: %q", wire)
			}
		}
	})
}

// FuzzRedirect holds that no Location makes a request of more lines, or one to nowhere.
func FuzzRedirect(f *testing.F) {
	for _, s := range []string{"/a", "b", "//h/x", "https://h:8443/?a b", "http://h/\r\nX: y", "http://[::1]:80/", "http://u:p@h/", "?x", "#f", "javascript:alert(1)", ""} {
		f.Add(s, 302)
	}
	f.Fuzz(func(t *testing.T, where string, status int) {
		from := page{host: "www.example.org", port: 80, path: "/x?y", method: "POST", headers: true}
		to, err := from.redirected(status, where)
		if err != nil {
			return
		}
		wire := string(to.request(""))
		first, _, _ := strings.Cut(wire, "\r\n")
		if strings.Count(wire, "\n") > 5 || strings.Count(first, " ") != 2 {
			t.Errorf("%q makes %q", where, wire)
		}
		if to.port < 1 || to.port > 65535 || to.host == "" {
			t.Errorf("%q leads to %+v", where, to)
		}
	})
}

func FuzzPlain(f *testing.F) {
	f.Add("a\x1b[2Jb\u202e\xff\u2028", 20)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = limit&0xff + 8
		got := plain(s, limit)
		if len(got) > limit || !utf8.ValidString(got) || plain(got, limit) != got && isPlain(got) {
			t.Errorf("%q within %d becomes %q", s, limit, got)
		}
		for _, r := range got {
			if r != ' ' && !unicode.IsPrint(r) {
				t.Errorf("%q becomes %q", s, got)
			}
		}
	})
}

// FuzzDNSData holds that what an answer holds always matches itself, as it is and as it was typed.
func FuzzDNSData(f *testing.F) {
	f.Add("example.org. 1 IN A 10.0.0.5")
	f.Add(`example.org. 1 IN TXT "a b" "c"`)
	f.Add("example.org. 1 IN MX 10 Mail.Example.org.")
	f.Fuzz(func(t *testing.T, text string) {
		rr, err := dns.NewRR(text)
		if err != nil || rr == nil {
			return
		}
		if d := data(rr); normal(d) != normal(" "+strings.ToUpper(d)+" ") {
			t.Errorf("%q: %q is not %q", text, normal(d), normal(strings.ToUpper(d)))
		}
	})
}

func TestMillis(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "1 µs", 70 * time.Microsecond: "70 µs", 420 * time.Microsecond: "0.4 ms", 9940 * time.Microsecond: "9.9 ms",
		23 * time.Millisecond: "23 ms", 1234 * time.Millisecond: "1.2 s", 3 * time.Second: "3 s", time.Minute: "60 s",
	} {
		if got := millis(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// A clip keeps the beginning and counts the rest, whatever the sizes of the writes.
func TestClip(t *testing.T) {
	t.Parallel()
	for range 100 {
		c, total := clip{max: rand.IntN(50)}, 0
		for range rand.IntN(10) {
			n := rand.IntN(20)
			c.add(strings.Repeat("x", n))
			total += n
		}
		if len(c.kept)+c.cut != total || len(c.kept) > c.max || c.cut > 0 && len(c.kept) != c.max {
			t.Fatalf("%d written: %+v", total, c)
		}
	}
}
