package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	dir := cmp.Or(i.spec.Backups, backupDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the folder for backups: %w", err)
	}
	name := strings.Trim(fmt.Sprintf("%s-%s-%s", i.spec.Engine, i.spec.Instance, id), "-")
	return filepath.Join(dir, strings.ReplaceAll(name, "/", "_")+now.UTC().Format("-20060102T150405Z")), nil
}
