package config

import "atalaya/probes"

// probeKeys are those of one probe. Which of them a kind knows is the business of probes; only is for the documents and
// for an answer that names the line.
func probeKeys() []key {
	web := []string{probes.HTTP, probes.HTTPS}
	crypt := []string{probes.HTTPS, probes.TLS, probes.HTTP} // http may be redirected to https
	net := []string{probes.ICMP, probes.TCP, probes.HTTP, probes.HTTPS, probes.TLS, probes.DNS}
	ports := net[1:]
	tcp, dns, exec := []string{probes.TCP}, []string{probes.DNS}, []string{probes.Exec}
	return []key{
		{name: "name", kind: text, required: true, check: word, doc: "What it is called in status, alerts and metrics."},
		{name: "kind", kind: choice, of: probes.Kinds(), doc: "What is checked. Required where the probe is defined; absent where it is used by name."},
		{name: "target", kind: text, def: "auto", check: oneLine, only: net, doc: "auto is the first global address of the container; or a " +
			"CIDR or an interface of the container to choose by; or host or host:port as seen from this host."},
		{name: "family", kind: choice, def: "any", of: []string{probes.AnyFamily, probes.IPv4, probes.IPv6}, only: net, doc: "Which of its addresses."},
		{name: "port", kind: whole, low: 1, high: 65535, only: ports, doc: "The port. Absent: the target's, or 80 for http, 443 for https and tls, 53 for dns."},
		{name: "every", kind: duration, def: "10s", low: second, high: day, doc: "How often."},
		{name: "timeout", kind: duration, def: "3s", low: milli, high: int64(probes.MaxTimeout), doc: "How long one run may take, all in all."},
		{name: "fail_after", kind: whole, def: "3", low: 1, high: 1000, doc: "Failures in a row that make it fail."},
		{name: "pass_after", kind: whole, def: "2", low: 1, high: 1000, doc: "Passes in a row that make it pass again."},
		{name: "grace", kind: duration, def: "2m", high: day, doc: "After a start, failures before the first pass do not count for so long."},
		{name: "on_fail", kind: choice, def: "restart", of: []string{"restart", "alert"}, doc: "What a failing probe may lead to."},
		{name: "send", kind: text, only: tcp, check: argument, doc: "What to send after the connection is made."},
		{name: "expect", kind: text, only: tcp, check: pattern, doc: "A regular expression to be found in the first 16 KiB that come back."},
		{name: "method", kind: text, def: "GET", only: web, check: oneLine, doc: "The request method."},
		{name: "path", kind: text, def: "/", only: web, check: oneLine, doc: "Path and query, percent-encoded."},
		{name: "host", kind: text, only: web, check: oneLine, doc: "The Host header. Absent: the target as dialled."},
		{name: "headers", kind: list, only: web, keys: headerKeys(), doc: "Further request headers."},
		{name: "status", kind: text, def: probes.DefaultStatus, only: web, check: oneLine, doc: "The good ones, as in 200-299,401."},
		{name: "body", kind: text, only: web, check: pattern, doc: "A regular expression to be found in the body."},
		{name: "body_cap", kind: size, def: "64KiB", low: 1, high: probes.MaxBodyCap, only: web, doc: "How much of the body is read at most."},
		{name: "follow", kind: whole, def: "0", high: probes.MaxFollow, only: web, doc: "Redirects that are followed at most, each at the same address."},
		{name: "server_name", kind: text, only: crypt, check: oneLine, doc: "The name that is sent and verified. Absent: host, the target's name or its address."},
		{name: "ca_file", kind: text, only: crypt, check: certificates, doc: "A PEM file of the authorities to trust instead of the system's."},
		{name: "insecure", kind: truth, def: "false", only: crypt, doc: "A certificate that does not verify passes, with a warning."},
		{name: "expiry_warning", kind: duration, def: "14d", high: 20 * year, only: crypt, doc: "Warn when the certificate expires within this time. 0s: never."},
		{name: "query", kind: text, only: dns, check: oneLine, doc: "The name asked for. Required."},
		{name: "query_type", kind: text, def: "A", only: dns, check: oneLine, doc: "The type asked for."},
		{name: "rcode", kind: text, def: "NOERROR", only: dns, check: oneLine, doc: "The good answer code."},
		{name: "answers", kind: texts, only: dns, check: oneLine, doc: "Record data that the answer must hold, as dig prints it. Absent: any."},
		{name: "network", kind: choice, def: "udp", of: []string{"udp", "tcp"}, only: dns, doc: "The transport."},
		{name: "argv", kind: texts, only: exec, check: argument, doc: "The command inside the guest, never through a shell. Required."},
		{name: "exits", kind: text, def: probes.DefaultExits, only: exec, check: oneLine, doc: "The good exit codes, as in 0,2-3."},
	}
}

// headerKeys are those of one request header, of probes and of webhooks.
func headerKeys() []key {
	return []key{
		{name: "name", kind: text, required: true, check: oneLine, doc: "Its name."},
		{name: "value", kind: text, required: true, check: oneLine, doc: "Its value: file:/PATH, env:NAME, credential:NAME, or the text itself. It is shown nowhere."},
	}
}

const probeExample = `probes:
  - name: ping
    kind: icmp
    on_fail: alert
  - name: web
    kind: http
    port: 80
    path: /healthz
    status: 200-299,401
    every: 10s
  - name: db-alive
    kind: exec
    argv: [pg_isready, -q]
    every: 30s
    timeout: 5s
`
