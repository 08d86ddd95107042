package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atalaya/agent/health"
)

// Backups by lxc-snapshot: LXC's own, in the container's folder, which "lxc-snapshot --restore" takes back. 5.0.2 refuses a
// container that runs, whatever it lies on, and copies one that lies in a plain folder.

func (l *lxc) snapshotVerb() verb {
	return verb{
		argv: func(c call) ([]string, error) { return l.argv("lxc-snapshot", c.id, logTo(c.log)...), nil },
		after: func(_ context.Context, c call, a *Answer) {
			if a.Transcript.Abandoned {
				return
			}
			if last, _ := l.lastSnapshot(c.id); a.Err == "" && last.At.Before(a.Transcript.Started.Truncate(time.Second)) {
				a.Err = "lxc-snapshot says that it worked, and left no snapshot"
			}
			if a.Err != "" {
				keepFailure(c, a)
			}
		},
		limit: 6 * time.Hour, slack: time.Minute, log: true, read: readLXCAnswer,
	}
}

// lastBackup is the last snapshot, or a later failure of ours.
func (l *lxc) lastBackup(_ context.Context, id string) (Backup, error) {
	last, err := l.lastSnapshot(id)
	if err != nil {
		return Backup{}, err
	}
	failed, err := l.spec.lastFiled(id, "")
	if err != nil || failed.At.After(last.At) {
		return failed, err
	}
	return last, nil
}

// lastSnapshot reads when each was made from its file "ts", which LXC writes, in the host's time, once it is whole
// (do_lxcapi_snapshot).
func (l *lxc) lastSnapshot(id string) (last Backup, err error) {
	dir := filepath.Join(l.path, id, "snaps")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return last, err
	}
	for _, e := range entries {
		ts, _ := readBounded(filepath.Join(dir, e.Name(), "ts"), 64)
		at, err := time.ParseInLocation("2006:01:02 15:04:05", strings.TrimSpace(string(ts)), time.Local)
		if err == nil && !at.Before(last.At) {
			last = Backup{At: at, OK: true, Said: filepath.Join(dir, e.Name())}
		}
	}
	return last, nil
}

// backs adds backups to the tool.
func (l *lxc) backs(t *tool) {
	t.verbs[health.VerbBackup], t.lastBackup = l.snapshotVerb(), l.lastBackup
}
