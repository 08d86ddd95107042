package sentinel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/rig"
)

// A run of a marked tool is known with its words also after it has ended, a run of another is not, and one that ended long
// before a death has nothing to do with it.
func TestExecs(t *testing.T) {
	rig.Require(t, "root", "busybox")
	const mark = "MARK=own"
	own := func(pid int) bool {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return strings.Contains(string(env), mark)
	}
	tool, other := copied(t, "busybox-stop"), copied(t, "busybox-other")
	meaning := func(argv []string) (health.Verb, bool) {
		return health.VerbStop, filepath.Base(argv[0]) == "busybox-stop" && len(argv) == 3
	}
	e, err := WatchExecs([]string{tool, filepath.Join(t.TempDir(), "absent")}, own, meaning)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- e.Run(ctx) }()
	run := func(env, path string, args ...string) {
		t.Helper()
		cmd := exec.Command(path, args...)
		cmd.Args[0], cmd.Env = path, append(os.Environ(), env)
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
	run("", other, "sleep", "0.01")
	run(mark, tool, "sleep", "0.03")
	run("", tool, "sleep", "0.02")
	ended := time.Now()
	deadline := ended.Add(5 * time.Second)
	for len(e.At(ended)) == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	got := e.At(ended)
	if len(got) != 1 || got[0].Verb != health.VerbStop || got[0].Argv[2] != "0.02" || got[0].UID != os.Getuid() {
		t.Fatalf("seen: %+v", got)
	}
	for len(e.At(ended.Add(time.Hour))) > 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // until its end is noted
	}
	if late := e.At(ended.Add(10 * time.Second)); len(late) != 0 {
		t.Errorf("blamed for a death ten seconds later: %+v", late)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}

// copied is a busybox of another name: it does what its first argument says.
func copied(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}
