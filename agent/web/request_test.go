package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// raw sends one request as it is written.
func raw(t *testing.T, path, method, url string, body io.Reader) (int, string, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://x"+url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var f struct{ Error, Hint string }
	if err := json.NewDecoder(resp.Body).Decode(&f); err != nil {
		t.Errorf("%s %s: the answer is no JSON: %v", method, url, err)
	}
	return resp.StatusCode, f.Error, f.Hint
}

func TestControlBadRequests(t *testing.T) {
	t.Parallel()
	o, d := running(t)
	for _, c := range []struct {
		method, url, body string
		status            int
		want              string
	}{
		{"GET", "/v2/view", "", 404, "there is no GET /v2/view"},
		{"POST", "/v1/view", "", 404, "there is no POST /v1/view"},
		{"POST", "/v1/order", "", 400, "the body cannot be read"},
		{"POST", "/v1/order", `{"kind": "want", "name": "a", "by": "root"}`, 400, `unknown field "by"`},
		{"POST", "/v1/order", `{"kind": "want", "name": "a"} {}`, 400, "more than one document"},
		{"POST", "/v1/order", `{"kind": "want", "name": "` + strings.Repeat("a", 70000) + `"}`, 400, "more than 65536 bytes"},
		{"POST", "/v1/order", `{"kind": "want", "name": "` + strings.Repeat("a", 2000) + `"}`, 400, "at most 1000 bytes"},
		{"POST", "/v1/order", `{"kind": "explode", "name": "a"}`, 400, "is no order"},
		{"POST", "/v1/order", `{"kind": "want"}`, 400, "which container?"},
		{"POST", "/v1/order", `{"kind": "want", "all": true}`, 400, "takes one container"},
		{"POST", "/v1/order", `{"kind": "hold", "all": true, "name": "a"}`, 400, "not both"},
		{"POST", "/v1/order", `{"kind": "hold", "name": "a", "reason": "x"}`, 400, "needs a duration"},
		{"POST", "/v1/order", `{"kind": "hold", "name": "a", "reason": "x", "for": "9000h"}`, 400, "at most 366 days"},
		{"POST", "/v1/order", `{"kind": "hold", "name": "a", "reason": "x", "for": 3600}`, 400, "a duration is text with its unit"},
		{"POST", "/v1/order", `{"kind": "hold", "name": "a", "for": "1h"}`, 400, "needs a reason"},
		{"POST", "/v1/order", `{"kind": "hold", "name": "a", "for": "1h", "reason": "a\u001b[2Jb"}`, 400, "without control characters"},
		{"POST", "/v1/order", `{"kind": "release", "name": "a", "for": "1h"}`, 400, "takes no duration"},
		{"POST", "/v1/outbox/x/retry", "", 400, "no number of an alert"},
	} {
		status, text, _ := raw(t, o.Path, c.method, c.url, bytes.NewBufferString(c.body))
		if status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %s %.60s: %d %q, want %d %q", c.method, c.url, c.body, status, text, c.status, c.want)
		}
	}
	if d.last() != "" {
		t.Errorf("an order that is wrong was passed on: %q", d.last())
	}
}
