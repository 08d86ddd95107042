package config

// channelKeys are those of one place where alerts go.
func channelKeys() []key {
	webhook := []string{"webhook"}
	return []key{
		{name: "name", kind: text, required: true, check: word, doc: "What it is called in notify, status and metrics."},
		{name: "kind", kind: choice, required: true, of: []string{"webhook", "file"}, doc: "How alerts are delivered."},
		{name: "url", kind: text, only: webhook, check: oneLine, doc: "Where alerts are posted, http or https. Best given as file:/PATH, " +
			"env:NAME or credential:NAME where a key is part of it. Required."},
		{name: "secret", kind: text, only: webhook, check: oneLine, doc: "What requests are signed with, after Standard Webhooks: file:/PATH, " +
			"env:NAME, credential:NAME, or the text itself. Absent: not signed."},
		{name: "headers", kind: list, only: webhook, keys: headerKeys(), doc: "Further request headers."},
		{name: "attach", kind: truth, def: "false", only: webhook, doc: "Send the bundle along, as multipart/form-data; else only its name, size and digest."},
		{name: "max_attach", kind: size, def: "20MiB", low: 1 << 10, high: 1 << 30, only: webhook, doc: "With attach: how much is sent along in one request; what is larger is only named."},
		{name: "link", kind: text, only: webhook, check: oneLine, doc: "Without attach: the URL below which the receiver finds bundles by their names."},
		{name: "audience", kind: text, only: webhook, check: word, doc: "Which rendering of a bundle it gets. Absent: all there are."},
		{name: "ca_file", kind: text, only: webhook, check: certificates, doc: "A PEM file of the authorities to trust instead of the system's."},
		{name: "timeout", kind: duration, low: 100 * milli, high: 10 * minute, only: webhook, doc: "How long one request may take. Absent: 10s, and 60s with attach."},
		{name: "path", kind: text, only: []string{"file"}, check: absolute, doc: "The file that alerts are appended to, a JSON document a line. Required."},
	}
}

const channelExample = `channels:
  - name: ops
    kind: webhook
    url: https://hooks.example.net/atalaya
    secret: credential:ops-hook
    headers: [{name: Authorization, value: "credential:ops-token"}]
  - name: customer-desk
    kind: webhook
    url: credential:desk-url
    attach: true
  - name: record
    kind: file
    path: /var/log/atalaya/alerts.jsonl
`
