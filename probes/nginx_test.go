package probes

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"atalaya/agent/health"
	"atalaya/agent/secret"
	"atalaya/cmd/atalaya-lab/rig"
)

// A real web server: chunks, basic authentication, redirects, a client certificate's absence, IPv6.
func TestHTTPOfNginx(t *testing.T) {
	t.Parallel()
	rig.Require(t, "nginx")
	dir, port := t.TempDir(), freePort(t, "127.0.0.1")
	if err := os.WriteFile(filepath.Join(dir, "users"), []byte("admin:{PLAIN}secret-word\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`daemon off; master_process off; worker_processes 1; pid %[1]s/pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  server {
    listen 127.0.0.1:%[2]d; listen [::1]:%[2]d;
    location = / { return 200 "Welcome to the real one\n"; }
    location /old { return 301 /; }
    location /private { auth_basic "x"; auth_basic_user_file %[1]s/users; alias %[1]s/; index pid; }
    location /gone { return 410; }
    location /drop { return 444; }
  }
}`, dir, port)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, "nginx", "-e", "stderr", "-p", dir, "-c", file)
	listening(t, "127.0.0.1", port)
	auth := []Header{{"Authorization", secret.New("Basic YWRtaW46c2VjcmV0LXdvcmQ=")}} // admin:secret-word
	for _, c := range []struct {
		spec Spec
		want health.Outcome
		says string
	}{
		{Spec{Body: "(?m)^Welcome to the real one$"}, health.Pass, "200 OK"},
		{Spec{Body: "Welcome", Target: "::1"}, health.Pass, "200 OK"},
		{Spec{Method: "HEAD"}, health.Pass, "200 OK"},
		{Spec{Path: "/old"}, health.Fail, "301 Moved Permanently after"},
		{Spec{Path: "/old", Follow: 1, Body: "Welcome"}, health.Pass, "200 OK at redirect 1"},
		{Spec{Path: "/private/pid"}, health.Fail, "401 Unauthorized"},
		{Spec{Path: "/private/pid", Headers: auth}, health.Pass, "200 OK"},
		{Spec{Path: "/gone", Status: "200-299,410"}, health.Pass, "410 Gone"},
		{Spec{Path: "/drop"}, health.Fail, "the other side closed the connection"},
		{Spec{Path: "/nothing"}, health.Fail, "404 Not Found"},
	} {
		c.spec.Kind, c.spec.Target, c.spec.Port = HTTP, or(c.spec.Target, "127.0.0.1"), port
		expect(t, once(t, c.spec, Guest{}), c.want, c.says)
	}
}
