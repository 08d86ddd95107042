package engine

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"atalaya/agent/health"
)

// Backups by "export": the daemon's own, of the container, its configuration and its snapshots, which "import" takes back.
// It freezes a container that runs while it copies its files. Over ssh the file would be made on the other host, where we
// neither see it nor make its folder: there is none.

const lxdBackupSuffix = ".tar.gz"

func (l *lxd) backupVerb() verb {
	return verb{
		argv: func(c call) ([]string, error) {
			return append(l.about(c.id, "export", "--compression=gzip"), c.to+lxdBackupSuffix+partSuffix), nil
		},
		after: func(ctx context.Context, c call, a *Answer) {
			fileBackup(ctx, c, lxdBackupSuffix, a, func(path string) error { return lxdWhole(ctx, path) })
		},
		limit: 6 * time.Hour, slack: time.Minute, read: readLXDAnswer,
	}
}

func (l *lxd) lastBackup(_ context.Context, id string) (Backup, error) {
	return l.spec.lastFiled(id, lxdBackupSuffix)
}

// backs adds backups to the tool.
func (l *lxd) backs(t *tool) {
	if l.far() {
		return
	}
	t.verbs[health.VerbBackup], t.lastBackup = l.backupVerb(), l.lastBackup
}

// lxdWhole tells why an export is no backup. Of a container whose files are gone LXD 5.0.2 makes one without any, exit 0.
// The names are those of lxd/storage/drivers/generic_vfs.go; the container's stand behind those of its snapshots.
func lxdWhole(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	r, files := tar.NewReader(z), false
	for ctx.Err() == nil {
		switch h, err := r.Next(); {
		case errors.Is(err, io.EOF) && files:
			// Behind the padding stands its checksum.
			switch _, err := io.CopyN(io.Discard, z, 1<<20); {
			case err == nil:
				return errors.New("read the backup: it goes on behind its end")
			case !errors.Is(err, io.EOF):
				return fmt.Errorf("read the backup: %w", err)
			}
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("the backup holds the configuration alone: the container's files were not there")
		case err != nil:
			return fmt.Errorf("read the backup: %w", err)
		case strings.HasPrefix(h.Name, "backup/container/rootfs/") || strings.HasPrefix(h.Name, "backup/virtual-machine.img"):
			files = true
		}
	}
	return context.Cause(ctx)
}
