package notify_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"atalaya/agent/health"
	"atalaya/agent/notify"
	"atalaya/agent/secret"
	"atalaya/agent/store"
)

var epoch = time.Date(2026, 11, 24, 4, 5, 6, 0, time.FixedZone("CET", 3600))

func testAlert() health.Alert {
	return health.Alert{Schema: health.AlertSchema, Incident: "20261124T040506-1", Seq: 1, Kind: health.AlertOpen, Severity: "critical",
		Summary: "web1 is down: its init died", Host: health.Host{FQDN: "node1.example.net", Site: "muc", Boot: "b"},
		Container: &health.Subject{Ref: "lxc/web1", Engine: "lxc", ID: "web1", Name: "web1", State: health.Stopped, Addresses: []string{"10.0.3.7"}},
		Reason:    "init died", Since: epoch, Confirmed: epoch, At: epoch, Attempts: []health.Tried{{Attempt: 1, Verb: health.VerbStart, At: epoch, Took: 74.5,
			Command: []string{"lxc-start", "-n", "web1"}, Exit: 1, Answer: "no", Cause: "bridge br0 is missing"}},
		Verdict: &health.Verdict{Layer: "network", Confidence: "high", Sentence: "the bridge is gone", Proof: []string{"log"}, RetryHelps: health.No},
		Next:    "attempt 2 in 5 s", Todo: "look at br0", Quiet: "atalaya hold lxc/web1 --for 1h"}
}

// A request as a receiver sees it.
type request struct {
	header http.Header
	body   []byte
}

// receiver answers each request by the next of answers, the last one for ever, and keeps what it got.
func receiver(t *testing.T, answers ...http.HandlerFunc) (*httptest.Server, func() []request) {
	t.Helper()
	var got []request
	lock := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		lock <- struct{}{}
		got = append(got, request{r.Header.Clone(), body})
		n := min(len(got), len(answers)) - 1
		<-lock
		if n >= 0 {
			answers[n](w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s, func() []request {
		lock <- struct{}{}
		defer func() { <-lock }()
		return got
	}
}

func code(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) }
}

func hook(t *testing.T, s notify.WebhookSpec, url string) notify.Channel {
	t.Helper()
	s.Name, s.URL, s.Version = "ops", secret.New(url), "1.2.3"
	c, err := notify.NewWebhook(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const signingKey = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

func TestWebhookIsSignedAndComplete(t *testing.T) {
	s, got := receiver(t, code(202))
	c := hook(t, notify.WebhookSpec{Secret: secret.New(signingKey), Link: "https://evidence.example.net/b/",
		Headers: []notify.Header{{Name: "Authorization", Value: secret.New("Bearer tok-123456")}}}, s.URL+"/hook?key=abc123")
	r, err := c.Send(t.Context(), notify.Message{Alert: testAlert(), Key: "20261124T040506-1-1", Tries: 2, Late: 3*time.Hour + 12*time.Minute,
		Bundles: []store.Bundle{{Incident: "20261124T040506-1", Part: 1, Path: "/var/x/20261124-1.zip", SHA256: "abcd", Size: 7, Sealed: epoch}}})
	if err != nil || r.Status != "202 Accepted" || !strings.HasPrefix(s.URL, "http://"+r.Remote) {
		t.Fatalf("%+v, %v", r, err)
	}
	q := got()[0]
	verifier, err := webhooks.NewWebhook(signingKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(q.body, q.header); err != nil {
		t.Errorf("the reference verifier says: %v", err)
	}
	if err := verifier.Verify(append(q.body, ' '), q.header); err == nil {
		t.Error("the reference verifier takes anything")
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "Idempotency-Key": "20261124T040506-1-1",
		"Webhook-Id": "20261124T040506-1-1", "User-Agent": "atalaya/1.2.3", "Authorization": "Bearer tok-123456"} {
		if q.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, q.header.Get(name), want)
		}
	}
	validDocument(t, q.body)
	var d map[string]any
	if err := json.Unmarshal(q.body, &d); err != nil {
		t.Fatal(err)
	}
	if d["since"] != "2026-11-24T04:05:06+01:00" {
		t.Errorf("since %v has lost the host's offset", d["since"])
	}
	delivery := fmt.Sprint(d["delivery"])
	for _, want := range []string{"attempt:3", "late:delivered 3 h 12 min late", "late_ms:1.152e+07", "key:20261124T040506-1-1", "part:1", "sha256:abcd", "size:7",
		"url:https://evidence.example.net/b/20261124-1.zip"} {
		if !strings.Contains(delivery, want) {
			t.Errorf("delivery lacks %q: %s", want, delivery)
		}
	}
}

func TestWebhookSignsWithPlainTextToo(t *testing.T) {
	s, got := receiver(t)
	c := hook(t, notify.WebhookSpec{Secret: secret.New("a long pass phrase")}, s.URL)
	if _, err := c.Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k.with a dot"}); err != nil {
		t.Fatal(err)
	}
	v, _ := webhooks.NewWebhookRaw([]byte("a long pass phrase"))
	q := got()[0]
	if err := v.Verify(q.body, q.header); err != nil {
		t.Error(err)
	}
	if id := q.header.Get("webhook-id"); strings.ContainsAny(id, ". ") || id != q.header.Get("Idempotency-Key") {
		t.Errorf("id %q", id)
	}
}

// bundle makes a sealed bundle on disk.
func bundle(t *testing.T, part int, content string) store.Bundle {
	t.Helper()
	path := filepath.Join(t.TempDir(), fmt.Sprintf("20261124T040506-1.%d.zip", part))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	return store.Bundle{Incident: "20261124T040506-1", Part: part, Path: path, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content)), Sealed: epoch}
}

// opened takes a multipart body apart.
func opened(t *testing.T, q request) (alert []byte, bundles map[string]string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(q.header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		t.Fatalf("content type %q", q.header.Get("Content-Type"))
	}
	bundles = map[string]string{}
	for r := multipart.NewReader(bytes.NewReader(q.body), params["boundary"]); ; {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return alert, bundles
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		switch p.FormName() {
		case "alert":
			alert = b
		case "bundle":
			bundles[p.FileName()] = string(b)
		default:
			t.Errorf("part %q", p.FormName())
		}
	}
}

func TestWebhookAttachesBundles(t *testing.T) {
	s, got := receiver(t)
	one, two := bundle(t, 1, strings.Repeat("PK\x03\x04\r\n--", 50_000)), bundle(t, 2, "second")
	changed, gone, big := bundle(t, 3, "as sealed"), bundle(t, 4, "x"), bundle(t, 5, "x")
	os.WriteFile(changed.Path, []byte("as forged"), 0o600)
	os.Remove(gone.Path)
	big.Size = 1 << 30
	c := hook(t, notify.WebhookSpec{Secret: secret.New(signingKey), Attach: true}, s.URL)
	if _, err := c.Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k", Bundles: []store.Bundle{one, two, changed, gone, big}}); err != nil {
		t.Fatal(err)
	}
	q := got()[0]
	v, _ := webhooks.NewWebhook(signingKey)
	if err := v.Verify(q.body, q.header); err != nil {
		t.Errorf("the signature is not over the exact bytes: %v", err)
	}
	alert, bundles := opened(t, q)
	validDocument(t, alert)
	if len(bundles) != 2 || bundles["20261124T040506-1.1.zip"] != strings.Repeat("PK\x03\x04\r\n--", 50_000) || bundles["20261124T040506-1.2.zip"] != "second" {
		t.Errorf("%d bundles arrived", len(bundles))
	}
	for _, want := range []string{`"attached":true`, "the file is not what was sealed: its digest differs", "it cannot be read", "more than 20971520 bytes in all"} {
		if !strings.Contains(string(alert), want) {
			t.Errorf("the alert does not say %q: %s", want, alert)
		}
	}
}

func TestWebhookGoesWithoutARefusedAttachment(t *testing.T) {
	s, got := receiver(t, code(413), code(200))
	c := hook(t, notify.WebhookSpec{Attach: true}, s.URL)
	if _, err := c.Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k", Bundles: []store.Bundle{bundle(t, 1, "evidence")}}); err != nil {
		t.Fatal(err)
	}
	qs := got()
	if len(qs) != 2 || qs[1].header.Get("Content-Type") != "application/json" || qs[0].header.Get("Idempotency-Key") != qs[1].header.Get("Idempotency-Key") {
		t.Fatalf("%d requests", len(qs))
	}
	validDocument(t, qs[1].body)
	if !strings.Contains(string(qs[1].body), "the receiver refused it: 413") {
		t.Errorf("it does not say so: %s", qs[1].body)
	}
	// Without an attachment there is nothing left to leave away.
	s, _ = receiver(t, code(413))
	if _, err := hook(t, notify.WebhookSpec{}, s.URL).Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k"}); !refusedBy(err) {
		t.Errorf("%v", err)
	}
}

func refusedBy(err error) bool { return errors.As(err, &notify.Refused{}) }

func TestWebhookJudgesAnswers(t *testing.T) {
	leak := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "bad\x1b[31m\r\nkey %s for %s\u202e and %s %s", r.URL.Query().Get("key"), r.RequestURI, r.Header.Get("X-Token"), strings.Repeat("long ", 10_000))
	}
	elsewhere, went := receiver(t)
	answer := func(code int, header, value string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(header, value); w.WriteHeader(code) }
	}
	for name, c := range map[string]struct {
		answer  http.HandlerFunc
		refused bool
		after   time.Duration
		says    string
	}{
		"400":           {leak, true, 0, "400 Bad Request: bad[31m key [redacted] for [redacted] and [redacted] long"},
		"404":           {code(404), true, 0, "404 Not Found"},
		"408":           {code(408), false, 0, "408"},
		"425":           {code(425), false, 0, "425"},
		"429":           {answer(429, "Retry-After", "17"), false, 17 * time.Second, "429"},
		"429 for ever":  {answer(429, "Retry-After", "99999999999"), false, 6 * time.Hour, "429"},
		"429 nonsense":  {answer(429, "Retry-After", "soon"), false, 0, "429"},
		"500":           {code(500), false, 0, "500"},
		"503 with date": {answer(503, "Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), false, time.Hour, "503"},
		"301":           {answer(301, "Location", elsewhere.URL), true, 0, "redirects are not followed: configure the final address"},
		"307":           {answer(307, "Location", elsewhere.URL), false, 0, "redirects are not followed"},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nhalf")
		}, false, 0, "500 Oh: half"},
		"resets at once": {func(w http.ResponseWriter, _ *http.Request) { hijack(w, "") }, false, 0, "post to 127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := receiver(t, c.answer)
			ch := hook(t, notify.WebhookSpec{Headers: []notify.Header{{Name: "X-Token", Value: secret.New("tok-123456")}}}, s.URL+"/secret-path-0815?key=abc123")
			_, err := ch.Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k"})
			var later notify.Later
			errors.As(err, &later)
			if err == nil || refusedBy(err) != c.refused || (later.After-c.after).Abs() > 30*time.Second || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v (refused: %v, after %v)\nwant %q (refused: %v, after %v)", err, refusedBy(err), later.After, c.says, c.refused, c.after)
			}
			for _, s := range []string{"abc123", "tok-123456", "0815", "\x1b", "\u202e", "\n"} {
				if strings.Contains(fmt.Sprint(err), s) {
					t.Errorf("it gives away %q", s)
				}
			}
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
	if len(went()) > 0 {
		t.Error("a redirect was followed")
	}
}

// hijack writes raw bytes and slams the door.
func hijack(w http.ResponseWriter, raw string) {
	conn, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	buf.WriteString(raw)
	buf.Flush()
	if raw == "" {
		conn.(*net.TCPConn).SetLinger(0) // a reset
	}
	conn.Close()
}

func TestWebhookSurvivesSlowAndEndlessReceivers(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	slow, _ := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	began := time.Now()
	_, err := hook(t, notify.WebhookSpec{Timeout: 200 * time.Millisecond}, slow.URL).Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k"})
	if err == nil || refusedBy(err) || time.Since(began) > 10*time.Second {
		t.Errorf("a slow receiver: %v after %v", err, time.Since(began))
	}
	taken := make(chan int, 1)
	endless, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		n := 0
		for err := error(nil); err == nil && n < 256<<20; {
			var k int
			k, err = w.Write(make([]byte, 1<<16))
			n += k
		}
		taken <- n
	})
	if _, err := hook(t, notify.WebhookSpec{}, endless.URL).Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k"}); err != nil {
		t.Errorf("an endless answer to a 200: %v", err)
	}
	if n := <-taken; n > 64<<20 { // what fits in the buffers of two sockets is taken by the kernel, not by us
		t.Errorf("%d bytes of an endless answer were taken", n)
	}
}

func TestWebhookVerifiesTLS(t *testing.T) {
	s := httptest.NewTLSServer(code(200))
	defer s.Close()
	s.Config.ErrorLog = nil
	m := notify.Message{Alert: testAlert(), Key: "k"}
	if _, err := hook(t, notify.WebhookSpec{}, s.URL).Send(t.Context(), m); err == nil || refusedBy(err) || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600)
	if _, err := hook(t, notify.WebhookSpec{CAFile: ca}, s.URL).Send(t.Context(), m); err != nil {
		t.Errorf("with its CA: %v", err)
	}
}

// A container may be called anything; nothing that it is called may leave the place where it is quoted.
func TestWebhookTakesHostileNames(t *testing.T) {
	s, got := receiver(t)
	evil := "web1\r\nX-Evil: yes\r\n\r\n\"; filename=\"x\xff"
	b := bundle(t, 1, "evidence")
	renamed := filepath.Join(filepath.Dir(b.Path), "a\"\r\nX-Evil: yes.zip")
	if err := os.Rename(b.Path, renamed); err != nil {
		t.Fatal(err)
	}
	b.Path = renamed
	a := testAlert()
	a.Summary, a.Container.Name, a.Incident = evil, evil, evil
	c := hook(t, notify.WebhookSpec{Secret: secret.New(signingKey), Attach: true}, s.URL)
	if _, err := c.Send(t.Context(), notify.Message{Alert: a, Key: evil, Bundles: []store.Bundle{b}}); err != nil {
		t.Fatal(err)
	}
	q := got()[0]
	if q.header.Get("X-Evil") != "" || strings.Contains(string(q.body), "\nX-Evil") {
		t.Errorf("it broke out: %v\n%s", q.header, q.body)
	}
	alert, bundles := opened(t, q)
	validDocument(t, alert)
	if bundles["a___X-Evil__yes.zip"] != "evidence" {
		t.Errorf("bundles %v", bundles)
	}
}

func TestWebhookMistakes(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(dir+"/empty.pem", []byte("nothing"), 0o600)
	for want, s := range map[string]notify.WebhookSpec{
		`channel "ops": url: it must be http://HOST/… or https://HOST/…`:                                                             {URL: secret.New("ftp://token@x")},
		`channel "ops": secret: the signing secret has the prefix whsec_, but what follows is not base64`:                            {URL: secret.New("http://x"), Secret: secret.New("whsec_?")},
		`channel "ops": secret: the signing secret has 5 bytes, fewer than 16: make one with: echo whsec_$(openssl rand -base64 32)`: {URL: secret.New("http://x"), Secret: secret.New("short")},
		`channel "ops": headers: "X Y" is not a header name`:                                                                         {URL: secret.New("http://x"), Headers: []notify.Header{{Name: "X Y"}}},
		`channel "ops": headers: "webhook-id" is set by the agent`:                                                                   {URL: secret.New("http://x"), Headers: []notify.Header{{Name: "webhook-id"}}},
		`channel "ops": headers: the value of "X-Y" holds characters that a header cannot`:                                           {URL: secret.New("http://x"), Headers: []notify.Header{{Name: "X-Y", Value: secret.New("a\r\nb")}}},
		`channel "ops": link: "evidence" must be http://HOST/… or https://HOST/…`:                                                    {URL: secret.New("http://x"), Link: "evidence"},
		`channel "ops": ca_file: "` + dir + `/empty.pem" holds no certificate in PEM form`:                                           {URL: secret.New("http://x"), CAFile: dir + "/empty.pem"},
		`channel "ops": ca_file: open ` + dir + `/none: no such file or directory`:                                                   {URL: secret.New("http://x"), CAFile: dir + "/none"},
	} {
		s.Name = "ops"
		if _, err := notify.NewWebhook(s); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := notify.New(notify.Spec{Kind: "pigeon"}); err == nil {
		t.Error("an unknown kind was taken")
	}
}
