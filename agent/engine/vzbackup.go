package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/hostexec"
)

// What the tools of both engines save. vzctl 4 has snapshots, of ploop containers alone; prlctl has backups, on this node or
// on the one that its configuration names.

// snapshot saves the file system only: the memory with it would mean to freeze the container, and one that does not thaw
// again is lost.
func (o openvz) snapshot(c call) ([]string, error) {
	return o.command(false, "snapshot", "--skip-suspend", "--name", "atalaya")(c)
}

// lastBackup is the last snapshot, or what the log says of a later one that failed.
func (o openvz) lastBackup(ctx context.Context, id string) (Backup, error) {
	t, err := o.ask(ctx, o.argv("vzctl", "snapshot-list", id, "-H", "-o", "uuid,date,name"))
	switch words := vzCause(t.Stderr); {
	case strings.HasPrefix(words, "Snapshot feature is only available"):
		return Backup{}, fmt.Errorf("%w: %s", ErrNoBackups, words)
	case err != nil && words != "":
		return Backup{}, fmt.Errorf("%w: %s", err, words)
	case err != nil:
		return Backup{}, err
	}
	last := parseVZSnapshots(t.Stdout)
	if failed := parseVZSnapshotLog(o.logEnd(ctx), id); failed.Said != "" && !failed.At.Before(last.At) {
		return failed, nil
	}
	return last, nil
}

// logEnd is the end of vzctl's log, here or there; nil when it cannot be read.
func (h *vzHost) logEnd(ctx context.Context) []byte {
	path := h.global()["LOGFILE"]
	if !h.far() {
		b, _ := readTail(h.file(path), vzLogTail)
		return b
	}
	t := h.run.Read(ctx, hostexec.Command{Argv: []string{"tail", "-c", strconv.Itoa(vzLogTail), "--", path}, Timeout: h.spec.Timeout, MaxOut: vzLogTail})
	if !t.OK() {
		return nil
	}
	return t.Stdout
}

// vzSnapshotRE is one line of snapshot-list: id, local time, name (kolyshkin/vzctl@a4289f17 src/snapshot-list.c,
// src/lib/snapshot.c get_date).
var vzSnapshotRE = regexp.MustCompile(`^(\{[0-9a-f-]{36}\})\s+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\s+(.*))?$`)

// parseVZSnapshots gives the newest.
func parseVZSnapshots(b []byte) (last Backup) {
	for line := range strings.Lines(string(b)) {
		m := vzSnapshotRE.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue // what vzctl says besides
		}
		if at, err := time.ParseInLocation(time.DateTime, m[2], time.Local); err == nil && !at.Before(last.At) {
			last = Backup{At: at, OK: true, Said: strings.TrimSpace("snapshot " + m[1] + " " + tidy(m[3]))}
		}
	}
	return last
}

// parseVZSnapshotLog gives the last snapshot of a container that the log tells of, if it failed.
func parseVZSnapshotLog(b []byte, id string) (last Backup) {
	creating := false
	for line := range strings.Lines(string(b)) {
		l, ok := cutVZLog(line)
		switch {
		case !ok || l.id != id:
		case strings.HasPrefix(l.words, "Creating snapshot "):
			last, creating = Backup{}, true
		case strings.HasPrefix(l.words, "Failed to ") && creating: // the first is the innermost
			last, creating = Backup{At: l.at, Said: l.words}, false
		case strings.HasPrefix(l.words, "Snapshot ") && strings.HasSuffix(l.words, " has been successfully created"):
			creating = false
		}
	}
	return last
}

// backup asks the dispatcher: vzctl 7 has none of its own.
func (v *virtuozzo) backup(c call) ([]string, error) {
	v.begin(c.id, false)
	return v.argv("prlctl", "backup", c.id), nil
}

func (v *virtuozzo) lastBackup(ctx context.Context, id string) (Backup, error) {
	t, err := v.askPrl(ctx, "backup-list", id)
	if words := prlCause(t.Stderr); err != nil && words != "" {
		err = fmt.Errorf("%w: %s", err, words)
	}
	if err != nil {
		return Backup{}, err
	}
	return parsePrlBackups(t.Stdout, id)
}

// prlBackupRE is one line of backup-list: container, backup, node, local time, type, size (OpenVZ/prlctl@00f2c0c9
// src/PrlBackup.cpp LIST_STD_FMT, src/Utils.cpp convert_time).
var prlBackupRE = regexp.MustCompile(`^\{?([0-9a-fA-F-]{36})\}?\s+(\S+)\s+(\S.*?)\s+(\d\d/\d\d/\d{4} \d\d:\d\d:\d\d)\s+(\S+)\s+(\S+)$`)

// parsePrlBackups gives the newest. Without its heading it is no answer.
func parsePrlBackups(b []byte, id string) (last Backup, err error) {
	if !strings.Contains(string(b), "Backup_ID") {
		return last, errors.New("prlctl backup-list printed no list, and exit 0 proves nothing")
	}
	for line := range strings.Lines(string(b)) {
		m := prlBackupRE.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || !strings.EqualFold(m[1], id) {
			continue
		}
		if at, err := time.ParseInLocation("01/02/2006 15:04:05", m[4], time.Local); err == nil && !at.Before(last.At) {
			last = Backup{At: at, OK: true, Said: tidy(fmt.Sprintf("backup %s on %s", m[2], m[3]))}
		}
	}
	return last, nil
}
