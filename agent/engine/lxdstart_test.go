package engine_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"atalaya/agent/health"
)

// Starts and stops of LXD's real containers that do not go as they should.

// Process 1 takes no signal that it has no handler for, that of LXD's stop neither.
func (b *lxdBench) ignores(t *testing.T) {
	b = b.beside(t)
	b.Make("deaf", "-c", "raw.lxc=lxc.init.cmd = /bin/sleep 10000")
	defer b.Remove("deaf")
	before := b.up(t, "deaf")
	a := b.i.Do(context.Background(), health.VerbStop, "deaf", time.Second)
	if a.Cause != `Failed shutting down instance, status is "Running": shutting down the container failed` || a.Transcript.Took > 20*time.Second {
		t.Errorf("%+v", a)
	}
	if s := look(t, b.i, "deaf"); s.State != health.Running || s.Init != before || s.OnPurpose != "" {
		t.Errorf("it was asked and lives on: %+v", s)
	}
}

func (b *lxdBench) failsToStart(t *testing.T) {
	b = b.beside(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	causes := map[string]struct {
		stage []string // of "config device add"
		want  string
	}{
		"norootfs": {nil, "No such file or directory"},
		"noinit":   {nil, `No such file or directory - Failed to exec "/bin/nosuch"`},
		"nobridge": {[]string{"eth0", "nic", "nictype=bridged", "parent=atl-nosuch"}, `Failed to start device "eth0": Parent device "atl-nosuch" doesn't exist`},
		"nodisk":   {[]string{"d", "disk", "source=" + disk, "path=/mnt"}, `Missing source path "` + disk + `" for disk "d"`},
		"nodevice": {[]string{"d", "unix-char", "source=/dev/nosuch", "path=/dev/x"}, `Failed to start device "d": The required device path doesn't exist`},
		"taken":    {[]string{"p", "proxy", "listen=tcp:127.0.0.1:" + port, "connect=tcp:127.0.0.1:80"}, "Failed to listen on 127.0.0.1:" + port},
	}
	for id, c := range causes {
		var options []string
		if id == "noinit" {
			options = []string{"-c", "raw.lxc=lxc.init.cmd = /bin/nosuch"}
		}
		b.Make(id, options...)
		defer b.Remove(id)
		if c.stage != nil {
			b.Run(append([]string{"config", "device", "add", id}, c.stage...)...)
		}
	}
	defer b.HideRootfs("norootfs")()
	if err := os.Remove(disk); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for id, c := range causes {
		wg.Go(func() {
			a := b.i.Do(context.Background(), health.VerbStart, id, 0)
			if a.Err == "" || a.Already || a.Transcript.Exit != 1 || !strings.Contains(a.Cause, c.want) || strings.HasPrefix(a.Cause, "Error") {
				t.Errorf("%s: %q, want %q: %+v", id, a.Cause, c.want, a.Transcript)
			}
		})
	}
	wg.Wait()
	l := list(t, b.i)
	for id := range causes {
		if s := find(t, l, id); s.State != health.Stopped || s.OnPurpose != "" {
			t.Errorf("%+v", s)
		}
	}
}

func (b *lxdBench) startLies(t *testing.T) {
	b = b.beside(t)
	b.Make("brief", "-c", "raw.lxc=lxc.init.cmd = /bin/sleep 0.3")
	defer b.Remove("brief")
	list(t, b.i)
	if a := b.i.Do(context.Background(), health.VerbStart, "brief", 0); a.Err != "" || a.Already {
		t.Errorf("%+v", a)
	}
	awaitState(t, b.i, "brief", health.Stopped)
	if s := look(t, b.i, "brief"); s.OnPurpose != "" || s.Finished || s.Init.PID != 0 {
		t.Errorf("%+v", s)
	}
}
