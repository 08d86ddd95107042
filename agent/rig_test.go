package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"atalaya/cmd/atalaya-lab/rig"
)

// rigs counts them, for names.
var rigs atomic.Int64

// newRig is a real LXC installation; the test is skipped, or under CI=true fails, where there cannot be one.
//
// Its cgroups have a folder of their own: LXC names them after the container alone, so those of many rigs with a web1
// each would be in one another's way, and a start would now and then fail with "Failed to enter cgroup".
func newRig(t *testing.T, o rig.LXCOptions) *rig.LXC {
	t.Helper()
	rig.Require(t, "root", "lxc", "busybox")
	dir := fmt.Sprintf("lxc.agent-test-%d-%d", os.Getpid(), rigs.Add(1))
	t.Cleanup(func() { removeCgroups(dir) })
	o.Config = append(o.Config, "lxc.cgroup.dir = "+dir+"/$NAME")
	return rig.NewLXC(t, o)
}

// removeCgroups removes what LXC leaves of a folder of cgroups, in every hierarchy.
func removeCgroups(dir string) {
	for _, deep := range []string{"*/*", "*", ""} {
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			found, _ := filepath.Glob(filepath.Join(root, dir, deep))
			for _, d := range found {
				_ = os.Remove(d) // of a cgroup, whose files are not in the way; what is a file is refused
			}
		}
	}
}

// kill9 kills an init and returns when it, and all of its container, has ended.
func kill9(t *testing.T, l *rig.LXC, name string) {
	t.Helper()
	gone := l.HoldInit(name)
	l.Kill9(name)
	if err := gone.Wait(patience); err != nil {
		t.Fatal(err)
	}
}

// replace puts an executable text in place of a file, or of a link, which is not followed.
func replace(t *testing.T, path, text string) {
	t.Helper()
	_ = os.Remove(path)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
