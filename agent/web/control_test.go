package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
	"atalaya/agent/web"
)

// somebody is an existing group of Debian that nobody is in, and its number.
const (
	somebody    = "daemon"
	somebodyGID = 1
	nobody      = 65534
)

// folder is one that everybody may pass through, which t.TempDir is not.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "atalaya-web-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A desk takes down what the socket's functions were told.
type desk struct {
	mu   sync.Mutex
	said []string
}

func (d *desk) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = append(d.said, fmt.Sprintf(format, args...))
}

func (d *desk) last() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.said) == 0 {
		return ""
	}
	return d.said[len(d.said)-1]
}

func control(t *testing.T) (web.ControlOptions, *desk) {
	d := &desk{}
	return web.ControlOptions{Path: filepath.Join(folder(t), "run", "control.sock"), Group: somebody,
		View: func(context.Context) (health.View, error) { return view(), nil },
		Order: func(_ context.Context, q web.OrderRequest) (web.OrderReply, error) {
			d.note("%s %s %t %s %q by %s", q.Kind, q.Name, q.All, time.Duration(q.For), q.Reason, q.By)
			if q.Name == "none" {
				return web.OrderReply{}, &web.Refusal{Text: "no container is called \"none\"", Hint: "look"}
			}
			return web.OrderReply{Containers: []string{"lxc/" + q.Name}}, nil
		},
		Retry: func(_ context.Context, id int64, by string) error {
			d.note("retry %d by %s", id, by)
			if id == 404 {
				return fmt.Errorf("send again: %w: undelivered alert %d", store.ErrNotFound, id)
			}
			return nil
		},
		Drop: func(_ context.Context, id int64, by string) error { d.note("drop %d by %s", id, by); return nil },
	}, d
}

func running(t *testing.T) (web.ControlOptions, *desk) {
	t.Helper()
	o, d := control(t)
	c, err := web.ListenControl(o)
	if err != nil {
		t.Fatal(err)
	}
	during(t, c.Run)
	return o, d
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("root is needed, and is there in CI")
	}
	t.Skip("needs root, to ask as somebody else")
}

func TestControl(t *testing.T) {
	t.Parallel()
	needRoot(t)
	o, d := running(t)
	c := web.Dial(o.Path)
	v, err := c.View(t.Context())
	if err != nil || len(v.Containers) != 2 || v.Containers[0].Name != "web1" {
		t.Fatalf("the view is %v, %v", v, err)
	}
	r, err := c.Order(t.Context(), web.OrderRequest{Kind: health.OrderHold, Name: "web1", For: web.Duration(90 * time.Minute), Reason: "disk swap"})
	if err != nil || r.By != "root (uid 0)" || len(r.Containers) != 1 || r.Kind != health.OrderHold {
		t.Errorf("the reply is %+v, %v", r, err)
	}
	if want := `hold web1 false 1h30m0s "disk swap" by root (uid 0)`; d.last() != want {
		t.Errorf("it was told %q, want %q", d.last(), want)
	}
	var no *web.Refusal
	if _, err = c.Order(t.Context(), web.OrderRequest{Kind: health.OrderWant, Name: "none"}); !errors.As(err, &no) || no.Hint != "look" {
		t.Errorf("a refused order gives %v", err)
	}
	if err := c.Retry(t.Context(), 7); err != nil || d.last() != "retry 7 by root (uid 0)" {
		t.Errorf("retry: %v, %q", err, d.last())
	}
	if err := c.Drop(t.Context(), 8); err != nil || d.last() != "drop 8 by root (uid 0)" {
		t.Errorf("drop: %v, %q", err, d.last())
	}
	if err := c.Retry(t.Context(), 404); !errors.As(err, &no) || !strings.Contains(no.Text, "undelivered alert 404") {
		t.Errorf("an alert that is not there gives %v", err)
	}
}

// The mode of the socket is the gate, and the kernel says who comes through it.
func TestControlOfSomebodyElse(t *testing.T) {
	t.Parallel()
	needRoot(t)
	o, d := running(t)
	fi, err := os.Lstat(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); fi.Mode().Perm() != 0o660 || st.Uid != 0 || st.Gid != somebodyGID {
		t.Fatalf("the socket is %s %d:%d", fi.Mode(), st.Uid, st.Gid)
	}
	out, code := askAs(t, o.Path, nil)
	if code != 1 || !strings.Contains(out, "permission denied") || !strings.Contains(out, "be root, or in the group daemon") {
		t.Errorf("nobody got %d %q", code, out)
	}
	if d.last() != "" {
		t.Errorf("nobody's order was taken: %q", d.last())
	}
	out, code = askAs(t, o.Path, []uint32{somebodyGID})
	if code != 0 || out != "nobody (uid 65534)\n" {
		t.Errorf("a member of the group got %d %q", code, out)
	}
	if want := `want web1 false 0s "" by nobody (uid 65534)`; d.last() != want {
		t.Errorf("it was told %q, want %q", d.last(), want)
	}
}

// askAs orders as the user nobody, in these groups.
func askAs(t *testing.T, path string, groups []uint32) (string, int) {
	t.Helper()
	cmd := asNobody(t, askVariable+"="+path, groups)
	cmd.Stdin = strings.NewReader(`{"kind": "want", "name": "web1"}`)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// asNobody is this test's binary, where nobody can reach it.
func asNobody(t *testing.T, variable string, groups []uint32) *exec.Cmd {
	t.Helper()
	self := filepath.Join(folder(t), "self")
	copyFile(t, "/proc/self/exe", self)
	cmd := exec.Command(self)
	cmd.Dir, cmd.Env = "/", []string{variable}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: groups}}
	return cmd
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An impostor that listens where everybody may write is told nothing.
func TestClientTrustsOnlyRoot(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := folder(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	cmd := asNobody(t, listenVariable+"="+path, nil)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "listening\n" {
		t.Fatalf("the impostor says %q, %v", line, err)
	}
	_, err = web.Dial(path).View(t.Context())
	if !errors.Is(err, web.ErrDenied) || !strings.Contains(err.Error(), "nobody (uid 65534) listens at") {
		t.Errorf("asking an impostor gives %v", err)
	}
}

func TestClientWithoutAgent(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	stale := filepath.Join(dir, "stale")
	leave(t, stale)
	for _, path := range []string{filepath.Join(dir, "nothing"), stale} {
		_, err := web.Dial(path).View(t.Context())
		if !errors.Is(err, web.ErrNoAgent) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// leave leaves a socket behind at which nobody listens.
func leave(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// TestRecords: what is read by the socket is what a reader of the store has.
func TestRecords(t *testing.T) {
	t.Parallel()
	s, _, err := store.Open(store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ref, at := health.Ref{Engine: "lxc", ID: "web1"}, time.Unix(1700000000, 0).UTC()
	in := health.Incident{ID: "20231114-221320-000-aa", Ref: ref, Opened: at, Reason: "it died"}
	al := health.Alert{Incident: in.ID, Kind: health.AlertOpen, Summary: "web1 is down"}
	if err := s.Commit(t.Context(), store.Batch{At: at, Incidents: []health.Incident{in}, Notes: []store.Note{{Ref: ref, Incident: in.ID, At: at, Kind: "alert", Text: "open"}},
		Alerts: []store.Queued{{Channel: "ops", Alert: al, Key: in.ID + "/1", Due: at}}}); err != nil {
		t.Fatal(err)
	}
	o, _ := control(t)
	o.Records = web.Records{Store: s, Evidence: t.TempDir()}
	name := in.ID + "-p1.zip"
	if err := os.WriteFile(filepath.Join(o.Records.Evidence, name), []byte("a bundle"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := web.ListenControl(o)
	if err != nil {
		t.Fatal(err)
	}
	during(t, c.Run)
	ask, ctx := web.Dial(o.Path), t.Context()
	same(t, "incidents")(o.Records.Incidents(ctx, store.Filter{Open: true, Limit: 1, Since: at}))(ask.Incidents(ctx, store.Filter{Open: true, Limit: 1, Since: at}))
	same(t, "none")([]health.Incident{}, nil)(ask.Incidents(ctx, store.Filter{Since: at.Add(time.Second)}))
	same(t, "a story")(o.Records.Story(ctx, "2023"))(ask.Story(ctx, "2023"))
	same(t, "the outbox")(o.Records.Outbox(ctx, true))(ask.Outbox(ctx, true))
	same(t, "bundles")(o.Records.Bundles(ctx, "2023"))(ask.Bundles(ctx, "2023"))
	same(t, "a bundle")([]byte("a bundle"), nil)(ask.Bundle(ctx, name))
	var no *web.Refusal
	for _, file := range []string{"../../etc/passwd", "atalaya.db", "", "1999-p1.zip"} {
		if b, err := ask.Bundle(ctx, file); !errors.As(err, &no) || len(b) > 0 {
			t.Errorf("bundle %q: %q, %v", file, b, err)
		}
	}
	if _, err := ask.Story(ctx, "1999"); !errors.As(err, &no) || no.Text != `no incident is called "1999"; 'atalaya incidents' lists them` {
		t.Errorf("%v", err)
	}
}

// same compares as JSON, which is what programs see.
func same(t *testing.T, what string) func(any, error) func(any, error) {
	return func(want any, err1 error) func(any, error) {
		return func(got any, err2 error) {
			t.Helper()
			a, _ := json.Marshal(want)
			b, _ := json.Marshal(got)
			if err1 != nil || err2 != nil || string(a) != string(b) {
				t.Errorf("%s: %s, %v; by the socket %s, %v", what, a, err1, b, err2)
			}
		}
	}
}
