package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"atalaya/agent/hostexec"
)

// Backups by vzdump, to wherever the administrator has configured it (/etc/vzdump.conf, else the storage "local").

// backup has vzdump copy a guest without stopping it, and delete no older backup: where a retention asks for that, it
// says so and makes none.
func (p *proxmox) backup(c call) ([]string, error) {
	if _, err := p.kind(c.id); err != nil {
		return nil, err
	}
	return p.argv("vzdump", c.id, "--mode", "snapshot", "--remove", "0"), nil
}

// readPVEBackup reads what vzdump printed: "ERROR: Backup of VM 100 failed - …" tells why, and its last line only that there
// were "job errors" (proxmox/pve-manager, PVE/VZDump.pm, exec_backup).
func readPVEBackup(t hostexec.Transcript, log []byte) Answer {
	a := readPVEAnswer(t, log)
	if a.Err == "" {
		return a
	}
	said := append(append([]byte{}, t.Stdout...), t.Stderr...)
	if why := vzdumpFailure(said); why != "" {
		a.Cause = why
	}
	return a
}

// vzdumpLine is a line of a guest's own log of its last backup (proxmox/pve-guest-common, src/PVE/VZDump/Plugin.pm, debugmsg).
// Printed, it has no time.
var vzdumpLine = regexp.MustCompile(`^(?:(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) )?(INFO|ERROR|WARN): +(.*)$`)

// parseVzdumpLog reads that log: when it was begun, by the host's clock on the wall, and how it ended.
func parseVzdumpLog(log []byte) (begun string, b Backup, ended bool) {
	where := ""
	for line := range strings.Lines(string(log)) {
		m := vzdumpLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		words := tidy(m[3])
		switch {
		case strings.HasPrefix(words, "Starting Backup of VM ") && begun == "":
			begun = m[1]
		case strings.HasPrefix(words, "creating ") && strings.Contains(words, " archive '"):
			_, rest, _ := strings.Cut(words, " archive '")
			where = strings.TrimSuffix(rest, "'")
		case m[2] == "INFO" && strings.HasPrefix(words, "Finished Backup of VM "):
			return begun, Backup{OK: true, Said: where}, true
		case m[2] == "ERROR" && strings.HasPrefix(words, "Backup of VM "):
			_, why, _ := strings.Cut(words, " failed - ")
			return begun, Backup{Said: why}, true
		}
	}
	return begun, b, false
}

// vzdumpFailure is why a backup failed, in the words that vzdump prints.
func vzdumpFailure(said []byte) string {
	_, b, ended := parseVzdumpLog(said)
	if !ended || b.OK {
		return ""
	}
	return b.Said
}

// lastBackup reads the log that vzdump keeps of the last backup of each guest, whoever ordered it, also as part of a job.
func (p *proxmox) lastBackup(ctx context.Context, id string) (Backup, error) {
	kind, err := p.kind(id)
	if err != nil {
		return Backup{}, err
	}
	path := "/var/log/vzdump/" + kind + "-" + id + ".log"
	log, when, err := p.vzdumpLog(ctx, path)
	if err != nil || len(log) == 0 {
		return Backup{}, err
	}
	begun, b, ended := parseVzdumpLog(log)
	if begun == "" {
		return Backup{}, fmt.Errorf("%q: no log of a backup, or of a version that is not known: %s", path, lastLine(log))
	}
	if b.At, err = when(begun); err != nil {
		return Backup{}, err
	}
	if !ended {
		h, err := p.gather(ctx, id)
		if err != nil {
			return Backup{}, err
		}
		b.Said = "it was cut off: " + lastLine(log)
		if t, busy, _ := h.history.operation(id); busy && pveOperation(t.kind) == "backup" || h.backsUpMany() {
			b.Said = "it is being made"
		}
	}
	return b, nil
}

// backsUpMany tells whether a backup of several guests is at work.
func (h *pveHost) backsUpMany() bool {
	for _, t := range h.history.bulk {
		if t.kind == "vzdump" && t.running() {
			return true
		}
	}
	return false
}

// vzdumpLog reads a log, nothing where there is none, and gives what tells the moment of a time in it.
func (p *proxmox) vzdumpLog(ctx context.Context, path string) ([]byte, func(string) (time.Time, error), error) {
	if p.far() {
		return p.vzdumpLogThere(ctx, path)
	}
	log, err := readBounded(p.file(path), maxList)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return log, func(s string) (time.Time, error) { return time.ParseInLocation(time.DateTime, s, time.Local) }, err
}
