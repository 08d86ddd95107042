package hostexec

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a changing command runs is ours, also where it is a grandchild; a start marks nothing, for a container may keep the
// environment of the command that starts it.
func TestOwn(t *testing.T) {
	t.Parallel()
	h := New(Options{Dir: t.TempDir(), Place: PlaceDirect})
	for verb, want := range map[string]bool{"stop": true, "restart": true, "start": false} {
		dir := t.TempDir()
		fifo := filepath.Join(dir, "go")
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		said := make(chan Transcript, 1)
		go func() {
			said <- h.Change(t.Context(), Op{ID: verb, Container: "lxc/a", Verb: verb}, sh("sh -c 'echo $$ > "+dir+"/pid; read x < "+fifo+"'; true"))
		}()
		var pid int
		until(t, "it runs", func() bool {
			b, _ := os.ReadFile(filepath.Join(dir, "pid"))
			pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
			return pid > 0
		})
		if Own(pid) != want {
			t.Errorf("%s: ours: %v", verb, Own(pid))
		}
		write(t, fifo)
		<-said
	}
	if Own(os.Getpid()) || Own(1) {
		t.Error("a process that no command of ours began is ours")
	}
}
