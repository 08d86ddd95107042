package probes

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A FieldError is one thing wrong with one field of a Spec.
type FieldError struct {
	Field string // as in the configuration file: body_cap
	Msg   string
}

// Error names the field first: `port: 70000 is not between 1 and 65535`.
func (e *FieldError) Error() string { return e.Field + ": " + e.Msg }

// A field is one field of a Spec beside name, kind, target, family, port and timeout, which most kinds share.
type field struct {
	name  string
	set   func(Spec) bool
	kinds []string
}

// fields tells which field belongs to which kinds.
func fields() []field {
	web, secure := []string{HTTP, HTTPS}, []string{HTTPS, TLS, HTTP} // http may be redirected to https
	return []field{
		{"target", func(s Spec) bool { return s.Target != "" }, []string{ICMP, TCP, HTTP, HTTPS, TLS, DNS}},
		{"family", func(s Spec) bool { return s.Family != "" }, []string{ICMP, TCP, HTTP, HTTPS, TLS, DNS}},
		{"port", func(s Spec) bool { return s.Port != 0 }, []string{TCP, HTTP, HTTPS, TLS, DNS}},
		{"send", func(s Spec) bool { return s.Send != "" }, []string{TCP}},
		{"expect", func(s Spec) bool { return s.Expect != "" }, []string{TCP}},
		{"method", func(s Spec) bool { return s.Method != "" }, web},
		{"path", func(s Spec) bool { return s.Path != "" }, web},
		{"host", func(s Spec) bool { return s.Host != "" }, web},
		{"headers", func(s Spec) bool { return len(s.Headers) > 0 }, web},
		{"status", func(s Spec) bool { return s.Status != "" }, web},
		{"body", func(s Spec) bool { return s.Body != "" }, web},
		{"body_cap", func(s Spec) bool { return s.BodyCap != 0 }, web},
		{"follow", func(s Spec) bool { return s.Follow != 0 }, web},
		{"server_name", func(s Spec) bool { return s.ServerName != "" }, secure},
		{"ca_file", func(s Spec) bool { return s.CAFile != "" }, secure},
		{"insecure", func(s Spec) bool { return s.Insecure }, secure},
		{"expiry_warning", func(s Spec) bool { return s.ExpiryWarning != 0 }, secure},
		{"query", func(s Spec) bool { return s.Query != "" }, []string{DNS}},
		{"query_type", func(s Spec) bool { return s.QueryType != "" }, []string{DNS}},
		{"rcode", func(s Spec) bool { return s.Rcode != "" }, []string{DNS}},
		{"answers", func(s Spec) bool { return len(s.Answers) > 0 }, []string{DNS}},
		{"network", func(s Spec) bool { return s.Network != "" }, []string{DNS}},
		{"argv", func(s Spec) bool { return len(s.Argv) > 0 }, []string{Exec}},
		{"exits", func(s Spec) bool { return s.Exits != "" }, []string{Exec}},
	}
}

// Kinds gives every kind there is.
func Kinds() []string { return []string{ICMP, TCP, HTTP, HTTPS, TLS, DNS, Exec} }

// faults gathers what is wrong with a Spec.
type faults []error

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, &FieldError{Field: field, Msg: fmt.Sprintf(format, args...)})
}

// wrong adds err, if there is one.
func (f *faults) wrong(field string, err error) {
	if err != nil {
		f.add(field, "%s", err)
	}
}

// Validate gives everything wrong with s, each a *FieldError. It reads the CA file, if there is one, and nothing else
// outside s.
func (s Spec) Validate() []error {
	var f faults
	if s.Name == "" {
		f.add("name", "is missing; it is how alerts and metrics call this probe")
	} else if len(s.Name) > 64 || plain(s.Name, 64) != s.Name {
		f.add("name", "%q is longer than 64 bytes, or holds control characters", s.Name)
	}
	if s.Timeout < 0 || s.Timeout > MaxTimeout || s.Timeout > 0 && s.Timeout < time.Millisecond {
		f.add("timeout", "%s is not between 1ms and %s", s.Timeout, MaxTimeout)
	}
	if !slices.Contains(Kinds(), s.Kind) {
		f.add("kind", "%q is not one of %s", s.Kind, strings.Join(Kinds(), ", "))
		return f
	}
	for _, x := range fields() {
		if x.set(s) && !slices.Contains(x.kinds, s.Kind) {
			f.add(x.name, "does not belong to a probe of kind %s, only to %s", s.Kind, strings.Join(x.kinds, ", "))
		}
	}
	if s.Kind != Exec {
		s.validateTarget(&f)
	}
	switch s.Kind {
	case TCP:
		_, err := regexp.Compile(s.Expect)
		f.wrong("expect", err)
	case HTTP, HTTPS:
		s.validateHTTP(&f)
		s.validateTLS(&f)
	case TLS:
		s.validateTLS(&f)
	case DNS:
		s.validateDNS(&f)
	case Exec:
		s.validateExec(&f)
	}
	return f
}

func (s Spec) validateTarget(f *faults) {
	known := slices.Contains([]string{"", AnyFamily, IPv4, IPv6}, s.Family)
	if !known {
		f.add("family", "%q is not one of any, ipv4, ipv6", s.Family)
	}
	family := s.Family
	if !known {
		family = AnyFamily
	}
	at, err := parseTarget(s.Target, family)
	f.wrong("target", err)
	switch {
	case s.Kind == ICMP && at.port != 0:
		f.add("target", "%q names a port; icmp has none", s.Target)
	case s.Port < 0 || s.Port > 65535:
		f.add("port", "%d is not between 1 and 65535", s.Port)
	case s.Port != 0 && at.port != 0 && s.Port != at.port:
		f.add("port", "is %d, and the target %q names another", s.Port, s.Target)
	case s.Kind == TCP && s.port(at) == 0 && err == nil:
		f.add("port", "is missing; a tcp probe has no usual one")
	}
}

// port is where the service listens; 0 where nothing says so.
func (s Spec) port(at target) int {
	return cmp.Or(s.Port, at.port, map[string]int{HTTP: 80, HTTPS: 443, TLS: 443, DNS: 53}[s.Kind])
}

func (s Spec) validateExec(f *faults) {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		f.add("argv", "is missing; write the command as a list, like [pg_isready, -q]")
	}
	if slices.ContainsFunc(s.Argv, func(a string) bool { return strings.ContainsRune(a, 0) }) {
		f.add("argv", "holds a NUL byte")
	}
	_, err := parseCodes(or(s.Exits, DefaultExits), 0, 255)
	f.wrong("exits", err)
}
