package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// maxLog is how much of the engine's own log of one command is kept. It is the end that tells, and the beginning: a log
// that is longer loses its middle.
const maxLog = 64 << 10

// Where log files are made, unless a Spec says otherwise, and how they end.
const (
	runDir    = "/run/atalaya"
	logSuffix = ".atalaya.log"
)

// An Answer is what came of one order. It proves nothing about the container: look again.
type Answer struct {
	Transcript hostexec.Transcript
	Already    bool   // the engine said that it is running already
	Err        string // empty when the engine said that it worked
	Cause      string // the innermost words that the engine or its log gives
	Log        []byte // the engine's log of this command, where it writes one; at most 64 KiB
}

// Do orders any verb that Can allows and waits for the engine's answer, at most limit (0: Limit) and some seconds
// in which the command itself may notice. The end of the context ends the waiting, never the command.
func (i *Instance) Do(ctx context.Context, v health.Verb, id string, limit time.Duration) Answer {
	how, ok := i.tool.verbs[v]
	if !ok {
		return failed(fmt.Sprintf("engine %q cannot %s", i.spec.Engine, v))
	}
	if err := i.tool.checkID(id); err != nil {
		return failed(fmt.Sprintf("%s %s: %v", v, i.ref(id), err))
	}
	c := call{id: id, limit: cmp.Or(limit, how.limit)}
	if v == health.VerbBackup {
		to, err := i.backupPath(id, time.Now())
		if err != nil {
			return failed(fmt.Sprintf("%s %s: %v", v, i.ref(id), err))
		}
		c.to = to
	}
	if how.least != nil {
		c.limit = max(c.limit, how.least(id))
	}
	if how.log {
		path, err := i.logFile(v)
		if err != nil {
			i.log.Warn("engine log of a command cannot be kept", "container", i.ref(id).String(), "err", err)
		}
		c.log = path
		defer func() { _ = os.Remove(path) }()
	}
	argv, err := how.argv(c)
	if err != nil {
		return failed(fmt.Sprintf("%s %s: %v", v, i.ref(id), err))
	}
	if how.before != nil {
		how.before(ctx, c)
	}
	op := hostexec.Op{ID: string(v) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36), Container: i.ref(id).String(), Verb: string(v)}
	t := i.run.Change(ctx, op, hostexec.Command{Argv: argv, Env: i.spec.Env, Timeout: c.limit + how.slack})
	log := readLog(c.log)
	a := how.read(t, log)
	a.Transcript, a.Log = t, log
	if how.after != nil {
		how.after(ctx, c, &a)
	}
	if a.Cause == "" && (t.TimedOut || t.Abandoned) && i.tool.hint != nil {
		a.Cause = i.tool.hint(id)
	}
	return a
}

func failed(why string) Answer {
	return Answer{Transcript: refused(nil, why), Err: why}
}

// logFile makes an empty file that only root reads. A path, and not our pipe: the engine's daemon keeps it open.
func (i *Instance) logFile(v health.Verb) (string, error) {
	dir := i.spec.RunDir
	if dir == "" {
		dir = runDir
	}
	if os.MkdirAll(dir, 0o750) != nil {
		dir = os.TempDir()
	}
	f, err := os.CreateTemp(dir, i.spec.Engine+"-"+string(v)+"-*"+logSuffix)
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// sweepLogs removes what an agent that was killed during a start left behind.
func (s Spec) sweepLogs(now time.Time) {
	for _, dir := range []string{s.RunDir, runDir, os.TempDir()} {
		if dir == "" {
			continue
		}
		left, _ := filepath.Glob(filepath.Join(dir, s.Engine+"-*-*"+logSuffix))
		for _, path := range left {
			if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > time.Hour {
				_ = os.Remove(path)
			}
		}
	}
}

// readLog reads the first and the last half of maxLog.
func readLog(path string) []byte {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	size := info.Size()
	if size <= maxLog {
		b, _ := io.ReadAll(io.LimitReader(f, maxLog))
		return b
	}
	head := make([]byte, maxLog/2)
	tail := make([]byte, maxLog/2)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil
	}
	if _, err := f.ReadAt(tail, size-maxLog/2); err != nil && !errors.Is(err, io.EOF) {
		return head
	}
	return fmt.Appendf(head, "\n[%d bytes cut here]\n%s", size-maxLog, tail)
}
