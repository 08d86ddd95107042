package bench

// Everything that knows how the real agent is configured and asked is in this file.

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"atalaya/agent/health"
)

// agent is one run of the real agent with a state of its own.
type agent struct {
	*program
	bin, config, listen string
}

// setup is what the runs differ in.
type setup struct {
	engine  string        // the YAML of one item of engines
	before  time.Duration // evidence.before: how long a start waits for evidence
	probe   string        // the YAML of one probe of every container, or ""
	running int           // containers that must be known to run before it counts as ready
	poll    time.Duration // between lists; 0: the default
}

// config is the agent's file: everything in dir, and a budget that never runs out,
// because a benchmark kills one container more often than life does.
func (s setup) config(dir, listen string) string {
	probes := "[]"
	if s.probe != "" {
		probes = "[" + s.probe + "]"
	}
	return strings.Join([]string{
		"mode: heal",
		s.pace(),
		"engines: [" + s.engine + "]",
		"web: {listen: \"" + listen + "\"}",
		"control: {socket: " + filepath.Join(dir, "control.sock") + ", group: root}",
		"store: {dir: " + filepath.Join(dir, "state") + "}",
		"evidence: {dir: " + filepath.Join(dir, "evidence") + ", " + s.budget() + "}",
		"defaults:",
		"  budget: {attempts: 1000, delays: [0s]}",
		"  flapping: {high: 0}",
		"  probes: " + probes,
	}, "\n") + "\n"
}

// pace keeps lists out of a measurement of something else.
func (s setup) pace() string {
	if s.poll == 0 {
		return ""
	}
	return fmt.Sprintf("poll: %s\npoll_held: %s", s.poll, s.poll)
}

// budget is how long evidence may take; without any, none is taken.
func (s setup) budget() string {
	if s.before == 0 {
		return "before: 0s, after: 0s"
	}
	return "before: " + s.before.String()
}

// lxcEngine is the item of engines for a rig's lxcpath.
func lxcEngine(path string) string { return "{engine: lxc, path: " + path + "}" }

// listEngine is a custom engine whose list is a file: a thousand containers without a single process.
func listEngine(file string) string {
	return "{engine: custom, name: bench, list: [/bin/cat, " + file + "], json: {id: id, state: state, addresses: addresses}, " +
		"states: [{word: up, state: running}]}"
}

// startAgent runs the binary on a fresh state in dir and waits until it knows its containers.
func startAgent(ctx context.Context, bin, dir string, s setup) (*agent, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the agent's folder: %w", err)
	}
	listen, err := freePort()
	if err != nil {
		return nil, err
	}
	a := &agent{bin: bin, config: filepath.Join(dir, "atalaya.yaml"), listen: listen}
	if err := os.WriteFile(a.config, []byte(s.config(dir, listen)), 0o600); err != nil {
		return nil, fmt.Errorf("write the agent's configuration: %w", err)
	}
	if a.program, err = launch(dir, "agent", bin, "run", "--config", a.config); err != nil {
		return nil, err
	}
	a.drain()
	err = a.await(ctx, 2*time.Minute, fmt.Sprintf("the agent knows its %d running containers", s.running), func() bool {
		return a.ready() && a.knows() >= s.running
	})
	if err != nil {
		_ = a.stop()
		return nil, err
	}
	return a, nil
}

func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String(), nil
}

func (a *agent) ready() bool {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get("http://" + a.listen + "/readyz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// knows counts the containers that the agent sees running.
func (a *agent) knows() (n int) {
	var view health.View
	if err := a.ask(&view, "status"); err != nil {
		return 0
	}
	for _, c := range view.Containers {
		if c.State == health.Running {
			n++
		}
	}
	return n
}

// incidents are those of this run; Opened is the moment the failure was noticed.
func (a *agent) incidents() (list []health.Incident, err error) {
	return list, a.ask(&list, "incidents")
}

// ask runs one of the agent's own commands and reads its JSON.
func (a *agent) ask(into any, argv ...string) error {
	argv = append(argv, "--config", a.config, "--output", "json")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, a.bin, argv...).Output()
	if err != nil {
		return fmt.Errorf("atalaya %s: %w", strings.Join(argv, " "), err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("atalaya %s: read its JSON: %w", strings.Join(argv, " "), err)
	}
	return nil
}
