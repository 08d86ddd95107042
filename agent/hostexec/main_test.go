package hostexec

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be other processes too: an agent that is killed, its successor, a child that looks at
// what it inherited. HOSTEXEC_ROLE says which; the arguments are the role's.
func TestMain(m *testing.M) {
	role := os.Getenv("HOSTEXEC_ROLE")
	if role == "" {
		os.Exit(m.Run())
	}
	if err := play(role, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func play(role string, args []string) error {
	switch role {
	case "look": // [PID]: what that process, or our parent, inherited, as JSON
		if len(args) == 1 {
			pid, err := strconv.Atoi(args[0])
			if err != nil {
				return err
			}
			return say(lookAt(pid))
		}
		return say(lookAt(os.Getppid()))
	case "change": // DIR PLACE OP ARGV…: run one changing command, print its transcript
		h := newRoleHost(args)
		defer h.Close()
		limit, _ := time.ParseDuration(os.Getenv("HOSTEXEC_LIMIT"))
		t := h.Change(context.Background(), start(args[2]), Command{Argv: args[3:], Timeout: limit})
		return say(t)
	case "successor": // DIR PLACE: await what is unfinished, print the transcripts; DIR.found appears when that is known
		h := newRoleHost(args)
		defer h.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out := []Transcript{}
		left := h.Unfinished()
		if err := os.WriteFile(args[0]+".found", nil, 0o600); err != nil {
			return err
		}
		for _, p := range left {
			out = append(out, h.Await(ctx, p))
		}
		return say(out)
	case "half": // DIR OP ARGV…: an agent killed between starting a command and recording its pid
		return half(args[0], args[1], args[2:])
	case "read": // ARGV…: as an agent that cannot fork
		return say(New(Options{}).Read(context.Background(), Command{Argv: args, Timeout: 5 * time.Second}))
	case "hang": // PIDFILE: read for ever, killed by somebody
		return say(New(Options{}).Read(context.Background(), Command{Argv: []string{"sh", "-c", "echo $$ > $0; exec sleep 1000", args[0]}, Timeout: time.Hour}))
	case "nproc": // as an agent whose user may start nothing more
		if err := noMoreProcesses(); err != nil {
			return err
		}
		return say(New(Options{}).Read(context.Background(), Command{Argv: []string{"true"}}))
	case "bench": // DIR PLACE N ARGV…: milliseconds of each Change
		return benchRole(args)
	}
	return fmt.Errorf("no role %q", role)
}

func newRoleHost(args []string) *Host {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	return New(Options{Dir: args[0], Log: log, Place: Placement(strings.TrimPrefix(args[1], "auto"))})
}

func half(dir, op string, argv []string) error {
	c := Command{Argv: argv}
	k := newKept(Op{ID: op, Container: "lxc/web1", Verb: "start"}, argv)
	outs, err := folder{dir}.begin(k.rec)
	if err != nil {
		return err
	}
	path, err := c.lookup()
	if err != nil {
		return err
	}
	_, err = startOwn(c, path, outs, false)
	return err
}

func benchRole(args []string) error {
	h := newRoleHost(args)
	defer h.Close()
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	for i := range n {
		op := start(fmt.Sprintf("bench-%d", i))
		started := time.Now()
		if args[1] == "bare" {
			err = exec.Command(args[3], args[4:]...).Run()
		} else {
			err = h.Change(context.Background(), op, Command{Argv: args[3:]}).Err()
		}
		if err != nil {
			return err
		}
		fmt.Printf("%.3f\n", float64(time.Since(started).Microseconds())/1000)
		if after := strings.Fields(os.Getenv("HOSTEXEC_AFTER")); len(after) > 0 {
			if err := exec.Command(after[0], after[1:]...).Run(); err != nil {
				return err
			}
		}
	}
	return nil
}

func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// noMoreProcesses lets this process keep the threads it has, with some to spare for the runtime, and start none.
func noMoreProcesses() error {
	var spare sync.WaitGroup
	for range 16 {
		spare.Go(func() { _ = unix.Nanosleep(&unix.Timespec{Nsec: 100e6}, nil) })
	}
	spare.Wait()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	have := uint64(len(tasks))
	return unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: have, Max: have})
}
