package probes

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"atalaya/agent/health"
	"atalaya/agent/secret"
)

// redirecting serves a little maze and says what was asked in it.
func redirecting(t *testing.T) (at string, asked func() string) {
	var log strings.Builder
	mux := http.NewServeMux()
	send := func(path, to string, code int) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			log.WriteString(r.Method + " " + r.Host + r.RequestURI + " " + r.Header.Get("X-Token") + "; ")
			w.Header().Set("Location", to)
			w.WriteHeader(code)
		})
	}
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	at = strings.TrimPrefix(web.URL, "http://")
	_, port, _ := strings.Cut(at, ":")
	send("/loop", "/loop", 302)
	send("/a", "b?x=1", 302)
	send("/b", "//"+at+"/end", 307)
	send("/other", "http://other.example:"+port+"/end", 302)
	send("/see", "/end", 303)
	send("/ftp", "ftp://"+at+"/", 302)
	send("/evil", "http://ex ample/", 302)
	send("/nowhere", "http://"+at+":99999/", 302)
	mux.HandleFunc("/end", func(_ http.ResponseWriter, r *http.Request) {
		log.WriteString(r.Method + " " + r.Host + r.RequestURI + " " + r.Header.Get("X-Token") + "; ")
	})
	return at, log.String
}

func TestHTTPFollow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec  Spec
		want  health.Outcome
		says  string
		asked string // AT for the server's address
	}{
		{Spec{Path: "/a", Follow: 5}, health.Pass, "200 OK at redirect 2", "GET AT/a secret-token; GET AT/b?x=1 secret-token; GET AT/end secret-token; "},
		{Spec{Path: "/a", Follow: 1}, health.Fail, "still redirected", "GET AT/a secret-token; GET AT/b?x=1 secret-token; "},
		{Spec{Path: "/loop", Follow: 3}, health.Fail, `still redirected, to "/loop", after 3 redirects`, strings.Repeat("GET AT/loop secret-token; ", 4)},
		{Spec{Path: "/see", Method: "POST", Follow: 1}, health.Pass, "200", "POST AT/see secret-token; GET AT/end secret-token; "},
		{Spec{Path: "/ftp", Follow: 1}, health.Fail, "not followed", "GET AT/ftp secret-token; "},
		{Spec{Path: "/evil", Follow: 1}, health.Fail, "no URL", "GET AT/evil secret-token; "},
		{Spec{Path: "/nowhere", Follow: 1}, health.Fail, "no URL", "GET AT/nowhere secret-token; "},
		// Another host is asked for at the same address, without the secret.
		{Spec{Path: "/other", Follow: 1}, health.Pass, "200", "GET AT/other secret-token; GET other.example:PORT/end ; "},
	} {
		t.Run(c.spec.Path, func(t *testing.T) {
			t.Parallel()
			at, asked := redirecting(t)
			c.spec.Kind, c.spec.Target = HTTP, at
			c.spec.Headers = []Header{{"X-Token", secret.New("secret-token")}}
			r := once(t, c.spec, Guest{})
			expect(t, r, c.want, c.says)
			_, port, _ := strings.Cut(at, ":")
			if want := strings.NewReplacer("AT", at, "PORT", port).Replace(c.asked); asked() != want {
				t.Errorf("asked %q, want %q", asked(), want)
			}
			if strings.Contains(string(r.Transcript)+r.Detail, "secret-token") {
				t.Errorf("a secret in the transcript:\n%s", r.Transcript)
			}
		})
	}
}

// What a server echoes of our secrets reaches neither detail nor transcript.
func TestHTTPSecretsAreNotEchoed(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.Header().Set("Location", "/?token="+strings.TrimPrefix(r.Header.Get("X-Token"), "Bearer "))
		w.WriteHeader(http.StatusFound)
		w.Write([]byte(user + " / " + password + " / " + r.Header.Get("X-Token") + r.Header.Get("Cookie")))
	}))
	defer web.Close()
	r := once(t, Spec{Kind: HTTP, Target: strings.TrimPrefix(web.URL, "http://"), Headers: []Header{
		{"Authorization", secret.New("Basic YWRtaW46aHVudGVyMi1odW50ZXIy")}, // admin:hunter2-hunter2
		{"X-Token", secret.New("Bearer abcdefgh12345678")},
		{"Cookie", secret.New("session=0123456789abcdef; theme=dark")},
	}}, Guest{})
	expect(t, r, health.Fail, "302 Found after", "it redirects to", secret.Redacted)
	holds(t, r, "Authorization: [redacted]\r\n", "X-Token: [redacted]\r\n", "X-Echo: [redacted]\r\n")
	for _, s := range []string{"YWRtaW46", "hunter2", "abcdefgh12345678", "0123456789abcdef"} {
		if strings.Contains(string(r.Transcript)+r.Detail, s) {
			t.Errorf("%q in detail %q or in transcript\n%s", s, r.Detail, r.Transcript)
		}
	}
}

// A secret that the end of the excerpt cuts through shows not even its first half.
func TestHTTPSecretsAtTheCut(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdefghijklmnopqrstuvwxyz"
	for _, fill := range []int{bodyKept - 1, bodyKept - 20, bodyKept - len(token) - 1, bodyKept + 200} {
		for _, body := range []string{"", "x$"} {
			at := answering(t, raw("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("y", headKept-45)+token+"\r\n\r\n"+
				strings.Repeat("x", fill)+strings.Repeat(token, 40)+strings.Repeat("x", 4000)))
			r := once(t, Spec{Kind: HTTP, Target: target127(at), Body: body, Headers: []Header{{"X-Token", secret.New(token)}}}, Guest{})
			expect(t, r, health.Pass)
			if strings.Contains(string(r.Transcript), token[:4]) || strings.Contains(string(r.Transcript), token[len(token)-4:]) {
				t.Errorf("part of a secret behind %d bytes:\n%s", fill, r.Transcript)
			}
			holds(t, r, "of "+strconv.Itoa(fill+40*len(token)+4000)+" bytes that were read]")
		}
	}
}
