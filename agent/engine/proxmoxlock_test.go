package engine_test

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

func (y *proxmoxYard) lock(name, op string) {
	y.change(name, func(k *scripted.Container) { k.Lock = op })
}

// atWork tells of a task that this very process stands for, and ends them all.
func (y *proxmoxYard) atWork(kind, id string) (end func()) {
	y.h.PVERunning(kind, id, "root@pam", time.Now(), os.Getpid(), "")
	return func() { y.h.WriteFile("/var/log/pve/tasks/active", "") }
}

// locks: who holds it, since when, by its task; the lock in the definition comes after the task's beginning.
func (y *proxmoxYard) locks() {
	i := y.up("web1")
	id := y.ID("web1")
	end := y.atWork("vzdump", id)
	if s := look(y.t, i, id); s.Lock == nil || s.Lock.Operation != "backup" || s.Lock.Dead {
		y.t.Errorf("a backup at work that has no lock yet: %+v", s.Lock)
	}
	y.lock("web1", "backup")
	for how, s := range map[string]health.Sighting{"list": find(y.t, list(y.t, i), id), "look": look(y.t, i, id)} {
		if l := s.Lock; s.State != health.Running || l == nil || l.Operation != "backup" || l.Dead || l.Holder.PID != os.Getpid() || time.Since(l.Since) > time.Minute {
			y.t.Errorf("%s: a lock that a task holds: %+v", how, l)
		}
	}
	if a := i.Do(context.Background(), health.VerbUnlock, id, 0); a.Transcript.PID != 0 || !strings.Contains(a.Err, "vzdump by root@pam") || y.guest("web1").Lock == "" {
		y.t.Errorf("it was unlocked while its holder lives: %+v", a)
	}
	end()
	y.lock("web1", "")
	if s := look(y.t, i, id); s.Lock != nil {
		y.t.Errorf("nothing holds it: %+v", s.Lock)
	}
	for _, kind := range []string{y.task("snapshot"), map[string]string{"lxc": "vzmigrate", "qemu": "qmigrate"}[y.kind]} {
		end := y.atWork(kind, id)
		if s := find(y.t, list(y.t, i), id); s.Lock == nil || s.Lock.Holder.PID != os.Getpid() {
			y.t.Errorf("%s at work: %+v", kind, s.Lock)
		}
		end()
	}
	y.lock("web1", "mounted")
	if look(y.t, i, id).Lock.Dead {
		y.t.Error("a person mounted it: no task holds that lock")
	}
}

// staleLocks: left over is what a task would hold, and none does; a start tells so, and it can be unlocked.
func (y *proxmoxYard) staleLocks() {
	y.Make("web1", made{autostart: true})
	id, i := y.ID("web1"), y.Open(y.t)
	y.lock("web1", "backup")
	if s := find(y.t, list(y.t, i), id); s.Lock == nil || s.Lock.Operation != "backup" || !s.Lock.Dead {
		y.t.Errorf("a lock that no task holds: %+v", s.Lock)
	}
	a := i.Do(context.Background(), health.VerbStart, id, 0)
	if what := map[string]string{"lxc": "CT", "qemu": "VM"}[y.kind]; a.Err == "" || a.Cause != what+" is locked (backup)" || a.Transcript.Exit != 255 {
		y.t.Errorf("%+v", a)
	}
	for _, of := range []string{"", "backup-5a1c2d3e"} { // before and since Proxmox VE 7.2
		end := y.atWork("vzdump", of)
		if look(y.t, i, id).Lock.Dead {
			y.t.Errorf("a backup of many, %q, may hold it", of)
		}
		end()
	}
	y.h.RemoveFile("/var/log/pve/tasks/active")
	if look(y.t, i, id).Lock.Dead {
		y.t.Error("the running tasks are not known, and the lock counts as left over")
	}
	y.h.WriteFile("/var/log/pve/tasks/active", "")
	if a := i.Do(context.Background(), health.VerbUnlock, id, 0); a.Err != "" || look(y.t, i, id).Lock != nil {
		y.t.Errorf("unlock: %+v", a)
	}
	if a := i.Do(context.Background(), health.VerbStart, id, 0); a.Err != "" {
		y.t.Errorf("%+v", a)
	}
}

func (y *proxmoxYard) lastBackup(i *engine.Instance) engine.Backup {
	y.t.Helper()
	b, err := i.LastBackup(context.Background(), y.ID("web1"))
	if err != nil {
		y.t.Fatal(err)
	}
	return b
}

// backups: vzdump makes one that exists, deletes none, and its log tells of the last one, whoever ordered it.
func (y *proxmoxYard) backups() {
	i := y.up("web1")
	id := y.ID("web1")
	if b := y.lastBackup(i); b != (engine.Backup{}) || !i.KnowsBackups() {
		y.t.Errorf("there is none: %+v", b)
	}
	began := time.Now().Truncate(time.Second)
	if a := i.Do(context.Background(), health.VerbBackup, id, 0); a.Err != "" || strings.Join(a.Transcript.Argv[1:], " ") != id+" --mode snapshot --remove 0" {
		y.t.Errorf("%+v", a)
	}
	b := y.lastBackup(i)
	if !b.OK || b.At.Before(began) || b.At.After(time.Now()) || !strings.HasPrefix(b.Said, "/var/lib/vz/dump/vzdump-"+y.kind+"-"+id+"-") {
		y.t.Errorf("%+v", b)
	}
	if _, err := os.Stat(y.h.File(b.Said)); err != nil {
		y.t.Error(err)
	}
	if s := look(y.t, i, id); s.State != health.Running || s.Lock != nil {
		y.t.Errorf("after a backup: %+v", s)
	}
	y.h.Update(id, func(k *scripted.Container) { k.Keys["fails"] = "vzdump-failed" })
	a := i.Do(context.Background(), health.VerbBackup, id, 0)
	const why = "command 'set -o pipefail && lxc-usernsexec -- tar cpf - ./ | zstd '--threads=1' >/var/lib/vz/dump/"
	if a.Err == "" || !strings.HasPrefix(a.Cause, why) || a.Transcript.Exit != 255 {
		y.t.Errorf("%+v", a)
	}
	if b := y.lastBackup(i); b.OK || b.At.Before(began) || !strings.HasPrefix(b.Said, why) {
		y.t.Errorf("%+v", b)
	}
	log := "/var/log/vzdump/" + y.kind + "-" + id + ".log"
	y.h.WriteFile(log, "2026-11-25 04:05:06 INFO: Starting Backup of VM "+id+" (lxc)\n2026-11-25 04:05:07 INFO: status = running\n")
	at := time.Date(2026, 11, 25, 4, 5, 6, 0, time.Local)
	if b := y.lastBackup(i); b.OK || !b.At.Equal(at) || b.Said != "it was cut off: 2026-11-25 04:05:07 INFO: status = running" {
		y.t.Errorf("cut off: %+v", b)
	}
	for _, of := range []string{id, "", "backup-5a1c2d3e"} {
		end := y.atWork("vzdump", of)
		if b := y.lastBackup(i); b.OK || !b.At.Equal(at) || b.Said != "it is being made" {
			y.t.Errorf("under way, of %q: %+v", of, b)
		}
		end()
	}
	y.hostileLogs(i, log)
}

// hostileLogs: a log that is none is an error, bounded, and nobody waits at it.
func (y *proxmoxYard) hostileLogs(i *engine.Instance, log string) {
	for what, place := range hostileFiles(y.t) {
		y.h.RemoveFile(log)
		place(y.h.File(log))
		if b, err := i.LastBackup(context.Background(), y.ID("web1")); err == nil {
			y.t.Errorf("%s: %+v", what, b)
		}
	}
}

// hostileFiles puts things in a place where a log is looked for.
func hostileFiles(t *testing.T) map[string]func(path string) {
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	return map[string]func(string){
		"a FIFO":     func(path string) { must(syscall.Mkfifo(path, 0o600)) },
		"a folder":   func(path string) { must(os.Mkdir(path, 0o755)) },
		"10 GB":      func(path string) { must(os.WriteFile(path, nil, 0o600)); must(os.Truncate(path, 10<<30)) },
		"words":      func(path string) { must(os.WriteFile(path, []byte("what is this?\n"), 0o600)) },
		"zeros only": func(path string) { must(os.WriteFile(path, make([]byte, 4096), 0o600)) },
	}
}
