package web_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"atalaya/agent/web"
)

func options() web.Options {
	return web.Options{Listen: "127.0.0.1:0", Version: "1.2.3", Gatherer: prometheus.NewRegistry(),
		Ready: func(context.Context) error { return nil }, Alive: func() error { return nil }}
}

// serve runs a server for the length of a test and gives its address.
func serve(t *testing.T, o web.Options) string {
	t.Helper()
	s, err := web.Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	during(t, s.Run)
	return s.Addr().String()
}

// during runs f until the test ends, and sees it end well.
func during(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("it ended with %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("it did not end")
		}
	})
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestHealthSaysWhy(t *testing.T) {
	t.Parallel()
	o := options()
	o.Ready = func(context.Context) error { return errors.New("lxc has not been listed yet") }
	o.Alive = func() error { return errors.New("the decision loop has not turned for 40s") }
	bad, good := serve(t, o), serve(t, options())
	for _, c := range []struct {
		url    string
		status int
		body   string
	}{
		{bad + "/readyz", 503, "lxc has not been listed yet\n"},
		{bad + "/healthz", 503, "the decision loop has not turned for 40s\n"},
		{good + "/readyz", 200, "ready\n"},
		{good + "/healthz", 200, "the decision loop turns\n"},
	} {
		if status, body := get(t, "http://"+c.url); status != c.status || body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.url, status, body, c.status, c.body)
		}
	}
	if status, body := get(t, "http://"+good+"/"); status != 200 || !strings.Contains(body, "/metrics") || !strings.Contains(body, "1.2.3") {
		t.Errorf("the page is %d %q", status, body)
	}
	if status, _ := get(t, "http://"+good+"/nothing"); status != 404 {
		t.Errorf("/nothing: %d", status)
	}
	resp, err := http.Post("http://"+good+"/metrics", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics: %s", resp.Status)
	}
}

func TestAddressThatCannotBeHad(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for listen, want := range map[string]string{
		l.Addr().String(): "the port is in use",
		"192.0.2.1:0":     "this host has no such address",
	} {
		o := options()
		o.Listen = listen
		s, err := web.Listen(o)
		if err == nil {
			s.Close()
			t.Fatalf("%s: listening", listen)
		}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "web.listen") {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

// A client that sends nothing, or a byte at a time, holds nothing for long.
func TestSlowClientIsCutOff(t *testing.T) {
	t.Parallel()
	addr := serve(t, options())
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			t.Fatal("a request without an end was still being awaited after 30 s")
		}
	}
}
