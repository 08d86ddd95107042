package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const full = `host: {site: "10"}
mode: alert
engines:
  - {engine: lxc, name: backup, path: /srv/lxc, timeout: 5s}
  - engine: custom
    list: [jls, -v]
    json: {items: jails, id: id, state: status.word}
    states: [{word: UP, state: running}, {word: "no", state: stopped}]
defaults: {want: yes, probes: [web], notify: [ops]}
containers:
  - match: {engine: lxc, name: ["a*", "yes"], tag: "~"}
    budget: {delays: [0s, 1500ms]}
    probes: [{name: web, port: 81}, {name: smtp, kind: tcp, port: 25, send: "EHLO x\r\n", expect: '^220 '}]
    notify: []
    ignore: false
  - {match: {instance: default, name: b1}, probes: []}
probes:
  - name: web
    kind: https
    expiry_warning: 0s
    body_cap: 1KiB
    headers: [{name: Authorization, value: "env:CONFIG_TEST_TOKEN"}, {name: Accept, value: "*/*"}]
channels:
  - {name: ops, kind: webhook, url: "env:CONFIG_TEST_URL", secret: "env:CONFIG_TEST_TOKEN", attach: true}
  - {name: log, kind: file, path: "/var/log/a b.jsonl"}
web: {listen: off}
evidence: {max_age: 36h}
housekeeping: "@every 6h"
`

func TestRenderLoadsAgain(t *testing.T) {
	clean(t)
	t.Setenv("CONFIG_TEST_TOKEN", "hunter2-hunter2-hunter2")
	t.Setenv("CONFIG_TEST_URL", "https://h.example.net/key-in-the-path")
	t.Setenv("ATALAYA_LIMITS_STARTS", "5")
	c := loaded(t, full)
	text := render(t, c)
	if strings.Contains(text, "hunter2") || strings.Contains(text, "key-in-the-path") || !strings.Contains(text, "starts: 5") {
		t.Errorf("rendered:\n%s", text)
	}
	if err := os.Unsetenv("ATALAYA_LIMITS_STARTS"); err != nil {
		t.Fatal(err)
	}
	again := loaded(t, text)
	if render(t, again) != text {
		t.Errorf("rendered\n%s\nloaded and rendered again\n%s", text, render(t, again))
	}
	if !reflect.DeepEqual(again.Engines, c.Engines) || !reflect.DeepEqual(again.Channels, c.Channels) || again.Web != c.Web || c.Web.Listen != "" {
		t.Error("the same text is another configuration")
	}
	if p := c.For(sighting("other")).Probes[0]; p.ExpiryWarning >= 0 || p.BodyCap != 1024 {
		t.Errorf("0s is not never: %+v", p)
	}
	for _, s := range []string{"a1", "yes", "other"} {
		one, two := c.For(sighting(s, "~")), again.For(sighting(s, "~"))
		one.Trace, two.Trace = nil, nil
		if !reflect.DeepEqual(one, two) {
			t.Errorf("%s: %+v, again %+v", s, one, two)
		}
	}
}

func TestNothingShowsALiteralSecret(t *testing.T) {
	clean(t)
	c := loaded(t, `
channels:
  - {name: ops, kind: webhook, url: "https://h.example.net/hunter2", secret: hunter2-key-0123456, headers: [{name: X-Auth, value: hunter2}]}
defaults:
  probes: [{name: web, kind: http, headers: [{name: Cookie, value: id=hunter2}, {name: Accept, value: text/plain}]}]
`)
	got := c.For(sighting("a"))
	out := render(t, c) + strings.Join(got.Trace, "\n") + fmt.Sprintf("%+v %+v %#v", c.Channels[0].Webhook, got.Probes, got.Probes)
	if strings.Contains(out, "hunter2") {
		t.Errorf("shown:\n%s", out)
	}
	if !strings.Contains(out, "https://h.example.net/[redacted]") || !strings.Contains(out, "text/plain") {
		t.Errorf("not shown:\n%s", out)
	}
	if got.Probes[0].Headers[0].Value.Reveal() != "id=hunter2" || c.Channels[0].Webhook.Secret.Reveal() != "hunter2-key-0123456" {
		t.Error("the secrets did not arrive")
	}
}

func TestUnitsAreReadAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(50000*time.Hour)).Draw(t, "duration"))
		if unit := rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "unit"); unit > 1 {
			d = d.Truncate(unit)
		}
		if got, err := parseDuration(formatDuration(d)); err != nil || got != d {
			t.Fatalf("%s is written %s and read %s, %v", d, formatDuration(d), got, err)
		}
		n := rapid.Int64Min(0).Draw(t, "size") >> rapid.IntRange(0, 62).Draw(t, "shift")
		if got, err := parseSize(formatSize(n)); err != nil || got != n {
			t.Fatalf("%d is written %s and read %d, %v", n, formatSize(n), got, err)
		}
	})
	for _, bad := range []string{"", "d", "-1d", "1.5d", "10", "1e3", "0x10", "1d1d", "s", "NaN", "Inf", "99999999d", "9223372036s1d", "-0s2"} {
		if d, err := parseDuration(bad); err == nil {
			t.Errorf("%q is read as %s", bad, d)
		}
	}
	for _, bad := range []string{"", "MiB", "-1MiB", "1.5GiB", "10", "9999999999TiB", "1MB"} {
		if n, err := parseSize(bad); err == nil {
			t.Errorf("%q is read as %d", bad, n)
		}
	}
}
