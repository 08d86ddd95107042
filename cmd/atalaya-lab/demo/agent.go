package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"text/template"
	"time"
)

// A configuration is what the agent's file is made of.
type configuration struct {
	Mode, Shop, Mail, Hook, Secret, Dir, Listen string
}

// file is the whole configuration of the demo. Periods and budget are shorter than anybody would have them in earnest, so
// that the stories fit into a minute.
var file = template.Must(template.New("atalaya.yaml").Parse(`# written by the demo
host: {site: demo}
mode: {{.Mode}}
poll: 1s
engines:
  - {engine: lxc, path: {{.Shop}}}
  - {engine: lxc, name: mail, path: {{.Mail}}}
defaults:
  probes:
    - {name: http, kind: http, every: 1s, timeout: 500ms, fail_after: 3, pass_after: 2, grace: 10s}
  budget: {attempts: 3, delays: [700ms, 1500ms]}
  stop_timeout: 5s
channels:
  - {name: hook, kind: webhook, url: "{{.Hook}}", secret: "{{.Secret}}", attach: true}
  - {name: log, kind: file, path: {{.Dir}}/alerts.jsonl}
evidence: {dir: {{.Dir}}/evidence}
store: {dir: {{.Dir}}/state}
control: {socket: {{.Dir}}/run/control.sock}
web: {listen: "{{.Listen}}"}
log: {level: debug, format: json}
`))

// watched is the agent under the demo's eyes.
type watched struct {
	cmd    *exec.Cmd
	config string
	listen string
	ended  chan struct{}

	mu    sync.Mutex
	lines []line
	raw   bytes.Buffer
}

// A line is one line of the agent's log.
type line struct {
	Time      time.Time `json:"time"`
	Level     string    `json:"level"`
	Msg       string    `json:"msg"`
	Container string    `json:"container"`
	Kind      string    `json:"kind"`
	What      string    `json:"what"`
	Summary   string    `json:"summary"`
	Turn      string    `json:"turn"`
	Incident  string    `json:"incident"`
	Path      string    `json:"path"`
}

func startAgent(ctx context.Context, binary, dir string, c configuration) (*watched, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("find a free port for the metrics: %w", err)
	}
	c.Listen = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, fmt.Errorf("free the port for the metrics: %w", err)
	}
	w := &watched{config: filepath.Join(dir, "atalaya.yaml"), listen: c.Listen, ended: make(chan struct{})}
	var text bytes.Buffer
	if err := file.Execute(&text, c); err != nil {
		return nil, fmt.Errorf("write the agent's configuration: %w", err)
	}
	if err := os.WriteFile(w.config, text.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("write the agent's configuration: %w", err)
	}
	w.cmd = exec.CommandContext(ctx, binary, "run", "--config", w.config)
	w.cmd.Cancel = func() error { return w.cmd.Process.Signal(syscall.SIGTERM) }
	w.cmd.WaitDelay = 10 * time.Second
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is ours to handle
	out, err := w.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("read the agent's log: %w", err)
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the agent %q: %w", binary, err)
	}
	go w.read(out)
	return w, nil
}

func (w *watched) pid() int { return w.cmd.Process.Pid }

func (w *watched) read(r io.Reader) {
	defer close(w.ended)
	for s := bufio.NewScanner(r); s.Scan(); {
		var l line
		w.mu.Lock()
		w.raw.Write(append(s.Bytes(), '\n'))
		if json.Unmarshal(s.Bytes(), &l) == nil {
			w.lines = append(w.lines, l)
		}
		w.mu.Unlock()
	}
}

// find gives the first log line after since that fits, waiting for it.
func (w *watched) find(ctx context.Context, since time.Time, within time.Duration, fits func(line) bool) (line, error) {
	deadline := time.Now().Add(within)
	for {
		w.mu.Lock()
		for _, l := range w.lines {
			if l.Time.After(since) && fits(l) {
				w.mu.Unlock()
				return l, nil
			}
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return line{}, context.Cause(ctx)
		case <-w.ended:
			return line{}, fmt.Errorf("the agent ended; the end of its log:\n%s", w.tail())
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return line{}, fmt.Errorf("the agent did not do what was expected within %s; the end of its log:\n%s", within, w.tail())
		}
	}
}

// between gives the log lines about a container from since to until.
func (w *watched) between(container string, since, until time.Time) []line {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []line
	for _, l := range w.lines {
		if l.Container == container && !l.Time.Before(since) && !l.Time.After(until) {
			out = append(out, l)
		}
	}
	return out
}

func (w *watched) tail() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.raw.Bytes()
	if len(b) > 3000 {
		b = b[len(b)-3000:]
	}
	return string(b)
}

// ready waits until the agent has seen the containers run and their probes pass.
func (w *watched) ready(ctx context.Context, containers ...string) error {
	for _, c := range containers {
		if _, err := w.find(ctx, time.Time{}, 15*time.Second, func(l line) bool {
			return l.Container == c && l.Kind == "probe" && strings.HasSuffix(l.What, "passes for the first time")
		}); err != nil {
			return fmt.Errorf("wait until the agent sees %s serve: %w", c, err)
		}
	}
	return nil
}

// metrics are those of the agent that begin with a prefix.
func (w *watched) metrics(ctx context.Context, prefixes ...string) (all string, chosen []string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.listen+"/metrics", nil)
	if err != nil {
		return "", nil, fmt.Errorf("ask for the metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", nil, fmt.Errorf("ask for the metrics: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return "", nil, fmt.Errorf("read the metrics: %w", err)
	}
	for l := range strings.Lines(string(b)) {
		for _, p := range prefixes {
			if strings.HasPrefix(l, p) {
				chosen = append(chosen, strings.TrimSpace(l))
			}
		}
	}
	return string(b), chosen, nil
}

// stop ends the agent in order.
func (w *watched) stop() {
	_ = w.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-w.ended:
	case <-time.After(10 * time.Second):
		_ = w.cmd.Process.Kill() // likewise
	}
	_ = w.cmd.Wait() // how it ended is in its log
}
