package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// The scripts in testdata/script run the binary itself: this one, which is atalaya when it is called so. A script that has a
// file "rig" gets so many real LXC containers, as $LXC, and its atalaya.yaml is completed for them.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"atalaya": main})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "json": isJSON, "setpid": setPID, "alter": alter, "kill9": kill9, "hangmonitor": hangMonitor, "breakconfig": breakConfig,
			"httpget": httpGet, "envsubst": envSubst, "documented": documented,
			"sshd": sshd, "connections": connections,
		},
	})
}

// A stagehand lets a rig end with a script.
type stagehand struct{ *testscript.Env }

func (s stagehand) Helper()                           {}
func (s stagehand) Logf(format string, args ...any)   { s.T().Log(fmt.Sprintf(format, args...)) }
func (s stagehand) Fatalf(format string, args ...any) { s.T().Fatal(fmt.Sprintf(format, args...)) }
func (s stagehand) Cleanup(f func())                  { s.Defer(f) }

// needs skips a script on a machine that lacks something, and fails it in CI.
func needs(e *testscript.Env, what ...string) {
	lacks := rig.Lacking(what...)
	switch {
	case len(lacks) == 0:
	case os.Getenv("CI") == "true":
		e.T().Fatal("this machine lacks ", strings.Join(lacks, ", "))
	default:
		e.T().Skip("this machine lacks ", strings.Join(lacks, ", "))
	}
}

func setUp(e *testscript.Env) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	e.Setenv("WEB", l.Addr().String())
	if err := l.Close(); err != nil {
		return err
	}
	source, err := os.Getwd()
	if err != nil {
		return err
	}
	e.Setenv("SOURCE", source)
	e.Setenv("TZ", "Europe/Madrid")
	e.Setenv("TERM", "xterm")
	b, err := os.ReadFile(filepath.Join(e.WorkDir, "rig"))
	if err != nil {
		return nil // a script without containers
	}
	needs(e, "root", "lxc", "busybox")
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return err
	}
	r := rig.NewLXC(stagehand{e}, rig.LXCOptions{N: n})
	e.Values["rig"] = r
	e.Setenv("LXC", r.Path())
	path := filepath.Join(e.WorkDir, "atalaya.yaml")
	own, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	instance := "engine: lxc, path: " + r.Path()
	if name, err := os.ReadFile(filepath.Join(e.WorkDir, "sshd")); err == nil {
		needs(e, "ssh", "/usr/sbin/sshd", "ssh-keygen")
		d := rig.NewSSHD(stagehand{e})
		e.Values["sshd"] = d
		instance += fmt.Sprintf(", name: %s, ssh: %s, ssh_config: %s", strings.TrimSpace(string(name)), d.Target(), d.Config())
	}
	return os.WriteFile(path, append(own, fmt.Sprintf(`
engines: [{%s}]
web: {listen: %q}
control: {socket: %[3]s/run/control.sock, group: root}
store: {dir: %[3]s/state}
evidence: {dir: %[3]s/evidence}
`, instance, e.Getenv("WEB"), e.WorkDir)...), 0o600)
}

// await runs a command again and again until its output fits: await REGEXP COMMAND...
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await regexp command...")
	}
	fits, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	var out string
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(300 * time.Millisecond) {
		_ = ts.Exec(args[1], args[2:]...) // an agent that does not answer yet
		if out = ts.ReadFile("stdout"); fits.MatchString(out) {
			return
		}
	}
	ts.Fatalf("%q did not come; the last answer was:\n%s%s", args[0], out, ts.ReadFile("stderr"))
}

// isJSON reads the latest output, strictly where it is a document with a type: json [view|incidents].
func isJSON(ts *testscript.TestScript, neg bool, args []string) {
	var into any
	switch strings.Join(args, " ") {
	case "view":
		into = new(health.View)
	case "incidents":
		into = new([]health.Incident)
	default:
		into = new(any)
	}
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	d.DisallowUnknownFields()
	if err := d.Decode(into); (err != nil) != neg {
		ts.Fatalf("the output is JSON: %v", err)
	}
}

// setPID takes the agent's pid from a view: $PID.
func setPID(ts *testscript.TestScript, _ bool, _ []string) {
	var v health.View
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	ts.Setenv("PID", strconv.Itoa(v.PID))
}

// alter turns one bit in the middle of a file.
func alter(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(path, b, 0o600))
}

func kill9(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value("rig").(*rig.LXC).Kill9(args[0])
}

// sshd does something to the other host's end of the connection: sshd cut|stop|start.
func sshd(ts *testscript.TestScript, _ bool, args []string) {
	d := ts.Value("sshd").(*rig.SSHD)
	switch args[0] {
	case "cut":
		d.Cut()
	case "stop":
		d.Stop()
		d.Cut()
	case "start":
		d.Start()
	}
}

// connections counts the logins there ever were: connections N.
func connections(ts *testscript.TestScript, _ bool, args []string) {
	d := ts.Value("sshd").(*rig.SSHD)
	if got := strconv.Itoa(d.Logins()); got != args[0] || d.Established() != 1 {
		ts.Fatalf("%s logins and %d connections, not %s", got, d.Established(), args[0])
	}
}

// hangMonitor stops the monitor of a container, until the script ends: it and every list hang.
func hangMonitor(ts *testscript.TestScript, _ bool, args []string) {
	pid := ts.Value("rig").(*rig.LXC).MonitorPID(args[0])
	ts.Check(syscall.Kill(pid, syscall.SIGSTOP))
	ts.Defer(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
}

// breakConfig makes a container impossible to start.
func breakConfig(ts *testscript.TestScript, _ bool, args []string) {
	r := ts.Value("rig").(*rig.LXC)
	b, err := os.ReadFile(r.ConfigFile(args[0]))
	ts.Check(err)
	r.SetConfig(args[0], string(b)+"\nlxc.hook.pre-start = /bin/false\n")
}

// httpGet asks the agent's web server: httpget PATH.
func httpGet(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	status, body, err := fetch(ctx, "http://"+ts.Getenv("WEB")+args[0])
	ts.Check(err)
	if (status == 200) == neg {
		ts.Fatalf("%s: %d %s", args[0], status, body)
	}
	ts.Check(os.WriteFile(ts.MkAbs("body"), body, 0o600))
}

// envSubst fills $WORK and $WEB into files.
func envSubst(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// documented sees that docs/metrics.md explains every metric of a scrape.
func documented(ts *testscript.TestScript, _ bool, args []string) {
	manual, err := os.ReadFile(filepath.Join(ts.Getenv("SOURCE"), "../../docs/metrics.md"))
	ts.Check(err)
	for l := range strings.Lines(ts.ReadFile(args[0])) {
		name, is := strings.CutPrefix(l, "# HELP ")
		name, _, _ = strings.Cut(name, " ")
		if is && strings.HasPrefix(name, "atalaya_") && !strings.Contains(string(manual), "`"+name+"`") {
			ts.Fatalf("docs/metrics.md does not explain %s", name)
		}
	}
}
