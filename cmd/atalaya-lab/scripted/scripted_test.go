package scripted

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	os.Exit(Run(m.Run))
}

func run(t *testing.T, h *Host, argv ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(h.Bin(), argv[0]), argv[1:]...)
	b, err := cmd.CombinedOutput()
	var bad *exec.ExitError
	if err != nil && !errors.As(err, &bad) {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func exampleHost(t *testing.T) *Host {
	h := New(t, "example", "testdata/example")
	h.Put(Container{ID: "9", Name: "nine", State: "stopped"})
	h.Put(Container{ID: "10", State: "stopped"})
	return h
}

// TestPlays: the tool keeps state, its inits are real processes, and it answers as its reply files say.
func TestPlays(t *testing.T) {
	t.Parallel()
	h := exampleHost(t)
	if out, code := run(t, h, "egctl", "start", "nine"); code != 0 || out != "started 9\n" {
		t.Fatalf("exit %d, %q", code, out)
	}
	if out, code := run(t, h, "egctl", "start", "9"); code != 32 || out != "9 is already running\n" {
		t.Errorf("exit %d, %q", code, out)
	}
	c := h.Get("9")
	if !c.Alive() || c.PID == 0 {
		t.Fatalf("its init does not live: %+v", c)
	}
	out, _ := run(t, h, "egctl", "list")
	if want := "[\n  {\"id\": \"9\", \"status\": \"RUN\", \"pid\": "; !strings.HasPrefix(out, want) || !strings.Contains(out, `"10", "status": "HALT"`) {
		t.Errorf("%q", out)
	}
	h.Kill9("9")
	if c.Alive() {
		t.Error("it lives after kill -9")
	}
	if out, _ := run(t, h, "egctl", "list"); strings.Contains(out, "RUN") {
		t.Errorf("%q", out)
	}
	if got := len(h.Calls()); got != 4 {
		t.Errorf("%d calls were noted: %q", got, h.Calls())
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	h := exampleHost(t)
	h.Fault(Fault{On: "egctl start 9", Do: Answer, Reply: "start"})
	if out, code := run(t, h, "egctl", "start", "9"); code != 0 || out != "started 9\n" || h.Get("9").Alive() {
		t.Errorf("a lie: exit %d, %q, %+v", code, out, h.Get("9"))
	}
	if run(t, h, "egctl", "start", "10"); !h.Get("10").Alive() {
		t.Error("a fault of 9 hit 10")
	}
	h.Fault(Fault{On: "egctl start", Do: Die})
	if out, code := run(t, h, "egctl", "start", "9"); code != 0 || out != "started 9\n" || h.Get("9").Alive() {
		t.Errorf("dies: exit %d, %q, %+v", code, out, h.Get("9"))
	}
	h.Fault(Fault{On: "egctl list", Do: Garble})
	if out, code := run(t, h, "egctl", "list"); code != 0 || !strings.Contains(out, "\xff") {
		t.Errorf("garble: exit %d, %q", code, out)
	}
	h.Fault(Fault{On: "egctl list", Do: Empty})
	if out, code := run(t, h, "egctl", "list"); code != 0 || out != "" {
		t.Errorf("empty: exit %d, %q", code, out)
	}
	h.Fault(Fault{On: "egctl list", Do: Hang, For: 50 * time.Millisecond})
	began := time.Now()
	if out, _ := run(t, h, "egctl", "list"); time.Since(began) < 50*time.Millisecond || !strings.HasPrefix(out, "[") {
		t.Errorf("hang: %q", out)
	}
	h.Fault(Fault{On: "egctl", Do: Flood})
	if out, _ := run(t, h, "egctl", "list"); len(out) < 100<<20 {
		t.Errorf("flood: %d bytes", len(out))
	}
	h.Heal()
	if out, _ := run(t, h, "egctl", "list"); !strings.HasPrefix(out, "[\n") {
		t.Errorf("healed: %q", out)
	}
}

// TestEndsWhatItStarted: nothing that was started for a test outlives it.
func TestEndsWhatItStarted(t *testing.T) {
	var c Container
	t.Run("starts", func(t *testing.T) {
		h := exampleHost(t)
		run(t, h, "egctl", "start", "9")
		c = *h.Get("9")
	})
	if c.PID == 0 || c.Alive() {
		t.Errorf("%+v", c)
	}
}

func TestMutants(t *testing.T) {
	t.Parallel()
	all, err := Mutants("testdata/example")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, m.Reply+": "+m.What)
		if _, err := parseReply(m.Reply, m.Text); err != nil {
			t.Error(err)
		}
	}
	want := `list: exit 3 instead of 0
list: state "RUN" is called "reRUN"
list: state "HALT" is called "reHALT"
list: stdout: without the key "id"
list: stdout: without the key "status"
list: stdout: without the key "pid"
nosuch: exit 0 instead of 14
nosuch: exit 3 instead of 14
nosuch: stderr: without the line "no container {{.ID}}"
start-already: exit 0 instead of 32
start-already: exit 3 instead of 32
start-already: stderr: without the line "{{.ID}} is already running"
start: exit 3 instead of 0
start: stdout: without the line "started {{.ID}}"
stop: exit 3 instead of 0`
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got\n%s", s)
	}
}

func TestReplyNeedsItsSource(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"exit: 0\n":                       "no source",
		"source: x\n":                     "no exit code",
		"source: x\nexit: 0\n--- stdin\n": "want --- stdout",
		"source: x\nexit 0\n--- stdout\n": "want key: value",
	} {
		if _, err := parseReply("x", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
