package probes

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/secret"
)

// page answers every request with raw bytes.
func raw(answer string) func(net.Conn) {
	return func(c net.Conn) { io.WriteString(c, answer) }
}

func TestHTTPAnswers(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, c := range map[string]struct {
		answer string
		spec   Spec
		want   health.Outcome
		says   string
	}{
		"200":                   {ok + "Content-Length: 2\r\n\r\nhi", Spec{}, health.Pass, "200 OK after "},
		"204":                   {"HTTP/1.1 204 No Content\r\n\r\n", Spec{}, health.Pass, "204 No Content"},
		"until closed":          {ok + "\r\nhi", Spec{Body: "^hi$"}, health.Pass, "200 OK"},
		"HTTP/1.0":              {"HTTP/1.0 200 OK\r\n\r\nhi", Spec{}, health.Pass, "200 OK"},
		"chunked":               {ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", Spec{Body: "^hello$"}, health.Pass, "200 OK"},
		"early hints":           {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "\r\n", Spec{}, health.Pass, "200 OK"},
		"HEAD":                  {ok + "Content-Length: 5000\r\n\r\n", Spec{Method: "HEAD"}, health.Pass, "200 OK"},
		"503":                   {"HTTP/1.1 503 Oops\x1b[31m\r\n\r\n", Spec{}, health.Fail, "503 Service Unavailable after "},
		"503 is fine":           {"HTTP/1.1 503 Oops\r\n\r\n", Spec{Status: "200-299,503"}, health.Pass, "503"},
		"a status of its own":   {"HTTP/1.1 599 Odd\r\n\r\n", Spec{}, health.Fail, "599 after"},
		"redirect":              {"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", Spec{}, health.Fail, `it redirects to "/login"`},
		"redirect is fine":      {"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", Spec{Status: "302"}, health.Pass, "302 Found"},
		"body":                  {ok + "\r\nready", Spec{Body: "^ready$"}, health.Pass, "200 OK"},
		"wrong body":            {ok + "\r\nError establishing a database connection", Spec{Body: "Welcome"}, health.Fail, `"Welcome" is not in the 40 bytes`},
		"body behind the cap":   {ok + "\r\n0123456789ready", Spec{Body: "ready", BodyCap: 10}, health.Fail, "is not in the 10 bytes"},
		"cut short":             {ok + "Content-Length: 50\r\n\r\nhello", Spec{}, health.Fail, "5 bytes into the body: the other side closed"},
		"cut in a chunk":        {ok + "Transfer-Encoding: chunked\r\n\r\n20\r\nhe", Spec{}, health.Fail, "2 bytes into the body: the other side closed"},
		"bad chunk":             {ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhe", Spec{}, health.Fail, "invalid byte in chunk length"},
		"cut in the head":       {ok + "Content-Le", Spec{}, health.Fail, "the other side closed the connection"},
		"nothing":               {"", Spec{}, health.Fail, "the other side closed the connection"},
		"SSH":                   {"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", Spec{}, health.Fail, "malformed HTTP"},
		"garbage":               {"\x00\x01\x02\xff\xfe\x1b[2J\n\n", Spec{}, health.Fail, "malformed HTTP"},
		"a status of letters":   {"HTTP/1.1 abc OK\r\n\r\n", Spec{}, health.Fail, "malformed HTTP"},
		"two lengths":           {ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", Spec{}, health.Fail, "Content-Length"},
		"a huge head":           {ok + "X: " + strings.Repeat("x", 200_000) + "\r\n\r\n", Spec{}, health.Fail, "larger than 64 KiB"},
		"many headers":          {ok + strings.Repeat("X: y\r\n", 50_000) + "\r\n", Spec{}, health.Fail, "larger than 64 KiB"},
		"informed for ever":     {strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100), Spec{}, health.Fail, "informational"},
		"TLS expected by https": {ok + "\r\n", Spec{Kind: HTTPS}, health.Fail, "TLS handshake with 127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.spec.Kind = or(c.spec.Kind, HTTP)
			answer := answering(t, raw(c.answer))
			if c.spec.Kind == HTTPS {
				answer = serve(t, "127.0.0.1:0", func(conn net.Conn) { conn.Read(make([]byte, 16)); raw(c.answer)(conn) })
			}
			c.spec.Target = target127(answer)
			expect(t, once(t, c.spec, Guest{}), c.want, c.says)
		})
	}
}

func TestHTTPSlowAndEndless(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	stall := func(before string) func(net.Conn) {
		return func(c net.Conn) { io.WriteString(c, before); c.Read(make([]byte, 1)) }
	}
	endless := func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		for {
			if _, err := io.WriteString(c, strings.Repeat("endless ", 512)); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		answer func(net.Conn)
		spec   Spec
		want   health.Outcome
		says   string
	}{
		"no head":           {stall(""), Spec{Timeout: limit}, health.Fail, ": no answer within"},
		"half a head":       {stall("HTTP/1.1 200 OK\r\nServer:"), Spec{Timeout: limit}, health.Fail, ": no answer within"},
		"half a body":       {stall("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), Spec{Timeout: limit}, health.Fail, "(200), 4 bytes into the body: no answer within"},
		"endless":           {endless, Spec{}, health.Pass, "200 OK"},
		"endless, searched": {endless, Spec{Body: "never"}, health.Fail, "not in the 65536 bytes"},
		"endless, found":    {endless, Spec{Body: "(endless ){3}"}, health.Pass, "200 OK"},
		"reset": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			time.Sleep(20 * time.Millisecond) // so that the half arrives before the reset throws it away
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}, Spec{}, health.Fail, "connection reset by peer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.spec.Kind, c.spec.Target = HTTP, target127(answering(t, c.answer))
			expect(t, once(t, c.spec, Guest{}), c.want, c.says)
		})
	}
}

func TestHTTPRequest(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- fmt.Sprint(r.Method, " ", r.Host, " ", r.RequestURI, " ", r.UserAgent(), " ", r.Header.Get("X-Token"), " ", r.ContentLength)
	}))
	defer web.Close()
	at := strings.TrimPrefix(web.URL, "http://")
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{}, "GET " + at + " / atalaya  0"},
		{Spec{Method: "POST", Path: "/a%20b?c=d", Host: "www.example.org"}, "POST www.example.org /a%20b?c=d atalaya  0"},
		{Spec{Headers: []Header{{"User-Agent", secret.New("me")}, {"X-Token", secret.New("t")}}}, "GET " + at + " / me t 0"},
	} {
		c.spec.Kind, c.spec.Target = HTTP, at
		expect(t, once(t, c.spec, Guest{}), health.Pass)
		if s := <-got; s != c.want {
			t.Errorf("the server got %q, want %q", s, c.want)
		}
	}
}

func TestHTTPTranscriptAndPhases(t *testing.T) {
	t.Parallel()
	at := answering(t, raw("HTTP/1.1 500 Oh\r\nServer: x\r\n\r\n\x1b"+strings.Repeat("z", 10_000)))
	r := once(t, Spec{Kind: HTTP, Target: target127(at), Path: "/health"}, Guest{})
	expect(t, r, health.Fail, "500 Internal Server Error")
	holds(t, r, "--- request to "+target127(at)+"\nGET /health HTTP/1.1\r\nHost: "+target127(at)+"\r\n",
		"--- answer\nHTTP/1.1 500 Oh\r\nServer: x\r\n\r\n\x1bzzz", "[cut here: the first 2048 of 10001 bytes that were read]")
	if r.Phases.Connect <= 0 || r.Phases.FirstByte <= 0 || r.Phases.TLS != 0 || r.Phases.Resolve != 0 || r.Took <= 0 {
		t.Errorf("phases %+v", r.Phases)
	}
	if len(r.Transcript) > 4096 {
		t.Errorf("transcript of %d bytes", len(r.Transcript))
	}
}
