package scripted

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A player is an engine's tools as Go code: which reply it is, and what the command does to the containers.
type player struct {
	tools   map[string]func(*Call) int // by the name the command is called by; gives the exit code
	prepare func(*Host) error          // the host files that are always there; may be nil
}

// A Call is one run of a tool.
type Call struct {
	*Host
	Tool     string
	Args     []string
	out, err bytes.Buffer
}

// Main is the tool, when the binary was called by the name of one, and then it does not return. To be called first in
// TestMain.
func Main() {
	self := os.Args[0]
	if !strings.Contains(self, "/") { // as it is when the tool was looked up
		if path, err := exec.LookPath(self); err == nil {
			self = path
		}
	}
	bin := filepath.Dir(self)
	if filepath.Base(bin) != "bin" {
		return
	}
	h := &Host{dir: filepath.Dir(bin)}
	if h.read("host.json", &h.hostConfig) != nil {
		return
	}
	play, ok := players()[h.Engine].tools[filepath.Base(os.Args[0])]
	if !ok {
		return
	}
	c := &Call{Host: h, Tool: filepath.Base(os.Args[0]), Args: os.Args[1:]}
	c.note()
	code := c.faulty(play)
	_, _ = os.Stderr.Write(c.err.Bytes())
	_, _ = os.Stdout.Write(c.out.Bytes())
	os.Exit(code)
}

// Reply prints a reply file, filled in, and gives its exit code: return c.Reply(…).
func (c *Call) Reply(name string, v View) int {
	r, err := readReply(c.Replies, name)
	c.must(err)
	v.Args, v.Root = c.Args, c.Root()
	if v.ID == "" && v.Container != nil {
		v.ID = v.Container.ID
	}
	out, errs, err := r.render(v)
	c.must(err)
	c.out.Write(out)
	c.err.Write(errs)
	return r.exit()
}

// Say prints a reply at once, for a command that goes on.
func (c *Call) Say(name string, v View) {
	c.Reply(name, v)
	_, _ = os.Stderr.Write(c.err.Bytes())
	_, _ = os.Stdout.Write(c.out.Bytes())
	c.out.Reset()
	c.err.Reset()
}

// Wait sleeps until ok, at most d; it tells whether it became so.
func Wait(d time.Duration, ok func() bool) bool {
	for end := time.Now().Add(d); ; time.Sleep(2 * time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Has tells whether the command line holds a word.
func (c *Call) Has(word string) bool {
	for _, a := range c.Args {
		if a == word {
			return true
		}
	}
	return false
}

// note keeps the command line, for Calls.
func (c *Call) note() {
	b, err := json.Marshal(append([]string{c.Tool}, c.Args...))
	c.must(err)
	f, err := os.OpenFile(c.path("calls"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	c.must(err)
	defer f.Close()
	_, err = f.Write(append(b, '\n'))
	c.must(err)
}

// Calls gives the command lines that were run so far, the tool's name first.
func (h *Host) Calls() [][]string {
	b, err := os.ReadFile(h.path("calls"))
	if os.IsNotExist(err) {
		return nil
	}
	h.must(err)
	var out [][]string
	for line := range strings.Lines(string(b)) {
		var argv []string
		if err := json.Unmarshal([]byte(line), &argv); err != nil {
			h.must(fmt.Errorf("calls: %w", err))
		}
		out = append(out, argv)
	}
	return out
}
