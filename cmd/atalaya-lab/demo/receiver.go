package demo

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// A receiver is somebody's endpoint for alerts: it checks the signature, keeps what came, and checks the bundle as a
// stranger would, with nothing but SHA256SUMS.
type receiver struct {
	secret string
	dir    string
	server *http.Server
	addr   string

	mu  sync.Mutex
	got []received
}

// A received is one alert as it arrived.
type received struct {
	At       time.Time
	Headers  http.Header
	Bytes    int
	Signed   bool
	Incident string
	Kind     string
	Summary  string
	Bundles  []bundle // attached, by part
	Wrong    error    // what is wrong with it
}

func newReceiver(dir string) (*receiver, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the receiver's folder: %w", err)
	}
	key := make([]byte, 24)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make the receiver's secret: %w", err)
	}
	r := &receiver{secret: "whsec_" + base64.StdEncoding.EncodeToString(key), dir: dir}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the receiver: %w", err)
	}
	r.addr = l.Addr().String()
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = r.server.Serve(l) }() // ends with close
	return r, nil
}

func (r *receiver) url() string { return "http://" + r.addr + "/alerts" }

func (r *receiver) close() { _ = r.server.Close() } // nothing is to be done about it

// ServeHTTP takes one alert.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 16<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	got := received{At: time.Now(), Headers: req.Header.Clone(), Bytes: len(body), Signed: r.signed(req.Header, body)}
	if !got.Signed {
		http.Error(w, "bad signature", http.StatusUnauthorized)
		return
	}
	got.Wrong = r.parse(req.Header.Get("Content-Type"), body, &got)
	r.mu.Lock()
	r.got = append(r.got, got)
	r.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// signed checks the signature as Standard Webhooks has it: HMAC-SHA256 over id, time and body.
func (r *receiver) signed(h http.Header, body []byte) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for sig := range strings.FieldsSeq(h.Get("webhook-signature")) {
		if hmac.Equal([]byte(sig), []byte(want)) {
			return true
		}
	}
	return false
}

// wait gives the first alert of a kind about a container that arrived after since.
func (r *receiver) wait(ctx context.Context, since time.Time, within time.Duration, kind, name string) (received, error) {
	deadline := time.Now().Add(within)
	for {
		r.mu.Lock()
		for _, g := range r.got {
			if g.At.After(since) && g.Kind == kind && strings.HasPrefix(g.Summary, name+" ") {
				r.mu.Unlock()
				return g, g.Wrong
			}
		}
		r.mu.Unlock()
		if time.Now().After(deadline) {
			return received{}, fmt.Errorf("no %q alert about %s arrived within %s", kind, name, within)
		}
		select {
		case <-ctx.Done():
			return received{}, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
