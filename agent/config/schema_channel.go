package config

// channelKeys are those of one place where alerts go.
func channelKeys() []key {
	webhook := []string{"webhook"}
	return []key{
		{name: "name", kind: text, required: true, check: word, doc: "What it is called in notify, status and metrics."},
		{name: "kind", kind: choice, required: true, of: []string{"webhook", "file"}, doc: "How alerts are delivered."},
		{name: "url", kind: text, only: webhook, check: oneLine, doc: "Where alerts are posted: http or https. As file:/PATH, env:NAME or " +
			"credential:NAME where the URL itself is a secret. Required."},
		{name: "secret", kind: text, only: webhook, check: oneLine, doc: "What requests are signed with, after Standard Webhooks: file:/PATH, " +
			"env:NAME, credential:NAME, or the text itself. Absent: not signed."},
		{name: "headers", kind: list, only: webhook, keys: headerKeys(), doc: "Further request headers."},
		{name: "attach", kind: truth, def: "true", only: webhook, doc: "Send the bundle along, as multipart/form-data; else only its name and digest."},
		{name: "timeout", kind: duration, def: "30s", low: 100 * milli, high: 10 * minute, only: webhook, doc: "How long one delivery may take."},
		{name: "path", kind: text, only: []string{"file"}, check: absolute, doc: "The file that alerts are appended to, a JSON document a line. Required."},
	}
}

const channelExample = `channels:
  - name: ops
    kind: webhook
    url: https://hooks.example.net/atalaya
    secret: credential:ops-hook
    headers: [{name: Authorization, value: "file:/etc/atalaya/ops.token"}]
  - name: customer-desk
    kind: webhook
    url: credential:desk-url
    attach: false
  - name: record
    kind: file
    path: /var/log/atalaya/alerts.jsonl
`
