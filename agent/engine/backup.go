package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// backupDir is where backups go whose tool has no place of its own.
const backupDir = "/var/lib/atalaya/backups"

// ErrNoBackups says that an engine's tool makes no backups that it could tell of.
var ErrNoBackups = errors.New("this engine keeps no record of backups")

// A Backup is what an engine tells of the last one of a container. The zero Backup is none.
type Backup struct {
	At   time.Time // when it was begun
	OK   bool      // it ended well
	Said string    // where it is, or why it failed, in the tool's words
}

// LastBackup asks for the last backup that the engine knows of, made by us or by others: at most two processes. It gives
// ErrNoBackups where that cannot be known.
func (i *Instance) LastBackup(ctx context.Context, id string) (Backup, error) {
	if i.tool.lastBackup == nil {
		return Backup{}, ErrNoBackups
	}
	if err := i.tool.checkID(id); err != nil {
		return Backup{}, fmt.Errorf("last backup of %s: %w", i.ref(id), err)
	}
	b, err := i.tool.lastBackup(ctx, id)
	if err != nil {
		return Backup{}, fmt.Errorf("last backup of %s: %w", i.ref(id), err)
	}
	return b, nil
}

// KnowsBackups tells whether LastBackup can know anything.
func (i *Instance) KnowsBackups() bool { return i.tool.lastBackup != nil }

// KeepsLogs tells whether Logs can name anything.
func (i *Instance) KeepsLogs() bool { return i.tool.logs != nil }

// Logs names what the container itself said last: its console, or what it printed. Empty where the engine keeps none.
func (i *Instance) Logs(id string) []Source {
	if i.tool.logs == nil || i.tool.checkID(id) != nil {
		return nil
	}
	return i.tool.logs(id)
}

// backupPath is where a backup goes, without the suffix that only its tool knows. Only root reads there.
func (i *Instance) backupPath(id string, now time.Time) (string, error) {
	stem := i.spec.backupStem(id)
	if err := os.MkdirAll(filepath.Dir(stem), 0o700); err != nil {
		return "", fmt.Errorf("make the folder for backups: %w", err)
	}
	return stem + now.UTC().Format(backupStamp), nil
}

const backupStamp = "-20060102T150405Z"

// backupStem is the path of a container's backups as far as they have it in common.
func (s Spec) backupStem(id string) string {
	name := strings.Trim(fmt.Sprintf("%s-%s-%s", s.Engine, s.Instance, id), "-")
	return filepath.Join(cmp.Or(s.Backups, backupDir), strings.ReplaceAll(name, "/", "_"))
}

// A tool without a place of its own for backups writes call.to+suffix+partSuffix. That gets its true name by fileBackup,
// once the tool has ended and the file is seen to be one; of a failure its words are kept in call.to+failSuffix.
const (
	partSuffix = ".part"
	failSuffix = ".failed"
)

// fileBackup judges what a tool has written, unless it is still at it, or there is no time to. whole tells why a file is no
// backup: exit 0 proves nothing here either.
func fileBackup(ctx context.Context, c call, suffix string, a *Answer, whole func(path string) error) {
	if a.Transcript.Abandoned {
		return
	}
	part := c.to + suffix + partSuffix
	err := errors.New(cmp.Or(a.Cause, a.Err))
	if a.Err == "" {
		if err = whole(part); err == nil {
			err = os.Rename(part, c.to+suffix)
		}
	}
	if err == nil {
		return
	}
	if ctx.Err() != nil && a.Err == "" {
		a.Err = fmt.Sprintf("%s is written, and was not proved whole: %v", part, context.Cause(ctx))
		return
	}
	a.Err, a.Cause = cmp.Or(a.Err, err.Error()), err.Error()
	_ = os.Remove(part)
	keepFailure(c, a)
}

// keepFailure has LastBackup know of a backup that failed.
func keepFailure(c call, a *Answer) {
	if err := os.WriteFile(c.to+failSuffix, []byte(cmp.Or(a.Cause, a.Err)+"\n"), 0o600); err != nil {
		a.Err += "; keep that: " + err.Error()
	}
}

// lastFiled finds the last backup among the files of fileBackup.
func (s Spec) lastFiled(id, suffix string) (last Backup, err error) {
	stem := s.backupStem(id)
	entries, err := os.ReadDir(filepath.Dir(stem))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return last, err
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), filepath.Base(stem))
		stamp, kind := rest[:min(len(rest), len(backupStamp))], rest[min(len(rest), len(backupStamp)):]
		at, err := time.Parse(backupStamp, stamp)
		if !ours || err != nil || !at.After(last.At) {
			continue
		}
		path := filepath.Join(filepath.Dir(stem), e.Name())
		switch kind {
		case suffix:
			last = Backup{At: at, OK: true, Said: path}
		case failSuffix:
			words, _ := os.ReadFile(path)
			last = Backup{At: at, Said: tidy(string(words))}
		case suffix + partSuffix:
			last = Backup{At: at, Said: path + " is not whole: it is being written, or the agent ended before it was"}
		}
	}
	return last, nil
}
