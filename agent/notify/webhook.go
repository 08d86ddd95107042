package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"atalaya/agent/secret"
)

// WebhookSpec configures a channel that posts alerts over HTTP. The document is described in docs/webhook.md.
type WebhookSpec struct {
	Name      string
	URL       secret.Value  // http or https; secret, because many receivers put their key into it
	Headers   []Header      // added to every request
	Secret    secret.Value  // signs requests: "whsec_" and base64, or any text; zero: not signed
	Attach    bool          // send bundles along as multipart/form-data
	MaxAttach int64         // bytes of bundles in one request; 0: 20 MiB
	Link      string        // without Attach: base URL under which the receiver finds bundles by name; empty: digest only
	Audience  string        // which rendering of a bundle; empty: all there are
	CAFile    string        // PEM; trusted instead of the system's
	Timeout   time.Duration // of one request, attachment included; 0: 10 s, and 60 s with Attach
	Version   string        // of the agent, for User-Agent
}

// A Header is one configured header.
type Header struct {
	Name  string
	Value secret.Value
}

// maxAnswer is how many bytes of an answer are read at all.
const maxAnswer = 4 << 10

type webhook struct {
	spec    WebhookSpec
	url     *url.URL
	signer  signer // nil: not signed
	client  *http.Client
	secrets *secret.Set
}

// NewWebhook makes a webhook channel; every error names the channel and the key to correct, and gives no secret away.
func NewWebhook(s WebhookSpec) (Channel, error) {
	w := &webhook{spec: s, secrets: &secret.Set{}}
	fail := func(format string, args ...any) (Channel, error) {
		return nil, fmt.Errorf("channel %q: "+format, append([]any{s.Name}, args...)...)
	}
	u, err := url.Parse(s.URL.Reveal())
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fail("url: it must be http://HOST/… or https://HOST/…")
	}
	w.url = u
	if w.url.Path == "" {
		w.url.Path = "/"
	}
	w.keepSecret()
	if !s.Secret.IsZero() {
		if w.signer, err = newSigner(s.Secret.Reveal()); err != nil {
			return fail("secret: %w", err)
		}
		w.secrets.Add(s.Secret)
	}
	for _, h := range s.Headers {
		if err := checkHeader(h); err != nil {
			return fail("headers: %w", err)
		}
		w.secrets.Add(h.Value)
	}
	if s.Link != "" {
		if l, err := url.Parse(s.Link); err != nil || (l.Scheme != "http" && l.Scheme != "https") || l.Host == "" {
			return fail("link: %q must be http://HOST/… or https://HOST/…", s.Link)
		}
	}
	if w.spec.Timeout <= 0 {
		w.spec.Timeout = 10 * time.Second
		if s.Attach {
			w.spec.Timeout = time.Minute
		}
	}
	if w.spec.MaxAttach <= 0 {
		w.spec.MaxAttach = 20 << 20
	}
	pool, err := roots(s.CAFile)
	if err != nil {
		return fail("ca_file: %w", err)
	}
	w.client = &http.Client{
		// A redirect could carry the alert, its evidence and our credentials to anybody.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment, // of the unit: the administrator's word
			TLSClientConfig:        &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true, // alerts are rare; a kept connection would only be found dead when it matters
			MaxResponseHeaderBytes: 64 << 10,
			ExpectContinueTimeout:  time.Second,
		},
	}
	return w, nil
}

// keepSecret makes known what of the address an answer might repeat: all of it, its path, and what stands in its query.
func (w *webhook) keepSecret() {
	w.secrets.Add(w.spec.URL)
	w.secrets.Add(secret.New(w.url.RequestURI()))
	if password, found := w.url.User.Password(); found {
		w.secrets.Add(secret.New(password))
	}
	for _, vs := range w.url.Query() {
		for _, v := range vs {
			w.secrets.Add(secret.New(v))
		}
	}
}

func checkHeader(h Header) error {
	switch name := http.CanonicalHeaderKey(h.Name); {
	case !httpguts.ValidHeaderFieldName(h.Name):
		return fmt.Errorf("%q is not a header name", h.Name)
	case !httpguts.ValidHeaderFieldValue(h.Value.Reveal()):
		return fmt.Errorf("the value of %q holds characters that a header cannot", h.Name)
	case strings.HasPrefix(name, "Webhook-"), name == "Content-Type", name == "Content-Length", name == "Transfer-Encoding",
		name == "Idempotency-Key", name == "User-Agent", name == "Host", name == "Expect", name == "Connection":
		return fmt.Errorf("%q is set by the agent", h.Name)
	}
	return nil
}

func roots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil // the system's
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%q holds no certificate in PEM form", path)
	}
	return pool, nil
}

// Name gives the configured name.
func (w *webhook) Name() string { return w.spec.Name }

// Kind gives "webhook".
func (w *webhook) Kind() string { return "webhook" }

// Send posts the message. If the receiver refuses it because of the attached bundles, it is posted again without them,
// saying so: words without evidence are better than neither.
func (w *webhook) Send(ctx context.Context, m Message) (Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, w.spec.Timeout)
	defer cancel()
	r, attached, err := w.post(ctx, m, "")
	var answer *answerError
	if attached && errors.As(err, &answer) && (answer.code == http.StatusRequestEntityTooLarge || answer.code == http.StatusUnsupportedMediaType) {
		r, _, err = w.post(ctx, m, "the receiver refused it: "+answer.status)
	}
	return r, err
}

// post makes one request. refused says why nothing is attached this time; empty: nothing is in the way.
func (w *webhook) post(ctx context.Context, m Message, refused string) (r Receipt, attached bool, err error) {
	now := time.Now()
	body, attached, err := w.pack(m, now, refused)
	if err != nil {
		return r, false, Refused{err}
	}
	defer body.close()
	req, err := w.request(ctx, m, body, now)
	if err != nil {
		return r, attached, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return r, attached, fmt.Errorf("post to %s: %w", w.url.Host, withoutURL(err))
	}
	defer resp.Body.Close()
	words, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // a body that breaks off does not unsay the status
	if resp.StatusCode/100 == 2 {
		return Receipt{Status: resp.Status, Remote: w.url.Host, At: now}, attached, nil
	}
	return r, attached, w.judge(resp, words, now)
}

func (w *webhook) request(ctx context.Context, m Message, body *payload, now time.Time) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), io.NopCloser(body.reader()))
	if err != nil {
		return nil, fmt.Errorf("post to %s: %w", w.url.Host, withoutURL(err))
	}
	req.ContentLength = body.size
	for _, h := range w.spec.Headers {
		req.Header.Set(h.Name, h.Value.Reveal())
	}
	key := headerKey(m.Key)
	req.Header.Set("Content-Type", body.contentType)
	req.Header.Set("Idempotency-Key", key)
	req.Header.Set("User-Agent", "atalaya/"+w.spec.Version)
	if len(body.files) > 0 {
		req.Header.Set("Expect", "100-continue") // lets the receiver say 413 before the bundles travel
	}
	if w.signer != nil {
		if err := w.signer.sign(req.Header, key, now, body.reader()); err != nil {
			return nil, fmt.Errorf("sign the request: %w", err)
		}
	}
	return req, nil
}

// pack makes the body, with as many bundles attached as may be and fit, and says of each of the others why it is not.
func (w *webhook) pack(m Message, now time.Time, refused string) (*payload, bool, error) {
	d := newDocument(m, now)
	var as []attachment
	room := w.spec.MaxAttach
	for _, b := range m.Bundles {
		if w.spec.Audience != "" && b.Audience != w.spec.Audience {
			continue
		}
		p := newParcel(b)
		switch {
		case !w.spec.Attach:
			p.URL = w.link(p)
		case refused != "":
			p.Note = refused
		case b.Size > room:
			p.Note = fmt.Sprintf("not attached: more than %d bytes in all", w.spec.MaxAttach)
		default:
			a, err := openBundle(b)
			if err != nil {
				p.Note = "not attached: " + err.Error()
				break
			}
			as = append(as, a)
			room -= a.size
			p.Attached = true
		}
		d.Delivery.Bundles = append(d.Delivery.Bundles, p)
	}
	doc, err := json.Marshal(d)
	if err != nil {
		return nil, false, fmt.Errorf("encode alert %q: %w", m.Key, err)
	}
	if len(as) == 0 {
		return jsonPayload(doc), false, nil
	}
	body, err := multipartPayload(doc, as)
	return body, true, err
}

func (w *webhook) link(p parcel) string {
	if w.spec.Link == "" {
		return ""
	}
	return strings.TrimRight(w.spec.Link, "/") + "/" + url.PathEscape(p.Name)
}
