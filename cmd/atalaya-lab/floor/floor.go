// Package floor is the least program that does the agent's job: it holds every init
// by a pidfd and runs lxc-start the moment one dies, lists with lxc-ls, and asks
// its targets in bursts. It decides, remembers and tells nothing. What it costs and
// how fast it is are the floor that the agent is measured against.
package floor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what to watch. All parts are optional.
type Options struct {
	Path  string        // lxcpath whose running containers are held, started again and listed
	Units bool          // start by systemd-run, in a transient unit that nothing is inherited from
	URLs  []string      // asked by GET every Every
	TCP   []string      // connected to every Every
	Every time.Duration // of lists and of probes
	Out   io.Writer     // gets one JSON line per [Event], and "ready" before them
}

// Event is one death that was noticed and answered.
type Event struct {
	Name     string    `json:"name"`
	Detected time.Time `json:"detected"` // the pidfd said so
	Issued   time.Time `json:"issued"`   // lxc-start is a process
}

// Run works until the context ends.
func Run(ctx context.Context, o Options) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { probeLoop(ctx, o) })
	if o.Path == "" {
		_, _ = fmt.Fprintln(o.Out, "ready")
		<-ctx.Done()
		return nil
	}
	w, err := newWatcher(o)
	if err != nil {
		return err
	}
	wg.Go(func() { listLoop(ctx, o) })
	wg.Go(func() { <-ctx.Done(); w.wake() })
	_, _ = fmt.Fprintln(o.Out, "ready")
	return w.run(ctx)
}

// listLoop asks who runs, as the agent does where no pidfd holds them.
func listLoop(ctx context.Context, o Options) {
	every(ctx, o.Every, func() {
		_ = exec.CommandContext(ctx, "lxc-ls", "-P", o.Path, "-1", "--running").Run()
	})
}

func every(ctx context.Context, period time.Duration, f func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// watcher holds inits by pidfd in one epoll set: one blocked thread for all of them.
type watcher struct {
	o      Options
	epoll  int
	event  int // wakes the loop
	mu     sync.Mutex
	names  map[int]string // by pidfd
	starts sync.WaitGroup
	out    sync.Mutex
}

func newWatcher(o Options) (*watcher, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll set: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	w := &watcher{o: o, epoll: epoll, event: event, names: map[int]string{}}
	if err := w.add(event); err != nil {
		return nil, err
	}
	out, err := exec.Command("lxc-ls", "-P", o.Path, "-1", "--running").Output()
	if err != nil {
		return nil, fmt.Errorf("list the running containers of %q: %w", o.Path, err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if err := w.hold(name); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *watcher) add(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("add to the epoll set: %w", err)
	}
	return nil
}

// hold watches the container's present init.
func (w *watcher) hold(name string) error {
	out, err := exec.Command("lxc-info", "-P", w.o.Path, "-n", name, "-pH").Output()
	if err != nil {
		return fmt.Errorf("ask for the init of %q: %w", name, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		return fmt.Errorf("container %q has no init: %w", name, err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("hold init %d of %q: %w", pid, name, err)
	}
	w.mu.Lock()
	w.names[fd] = name
	w.mu.Unlock()
	return w.add(fd)
}

func (w *watcher) wake() {
	_, _ = unix.Write(w.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (w *watcher) run(ctx context.Context) error {
	defer w.starts.Wait()
	events := make([]unix.EpollEvent, 64)
	for ctx.Err() == nil {
		n, err := unix.EpollWait(w.epoll, events, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for deaths: %w", err)
		}
		detected := time.Now()
		for _, ev := range events[:n] {
			if int(ev.Fd) != w.event {
				w.heal(int(ev.Fd), detected)
			}
		}
	}
	return nil
}

// heal starts the container at once and holds its new init when lxc-start has answered.
func (w *watcher) heal(fd int, detected time.Time) {
	w.mu.Lock()
	name := w.names[fd]
	delete(w.names, fd)
	w.mu.Unlock()
	_ = unix.Close(fd) // leaves the epoll set too
	argv := []string{"lxc-start", "-P", w.o.Path, "-n", name}
	if w.o.Units {
		argv = append([]string{"systemd-run", "-q", "--collect", "--wait", "--pipe", "-p", "Type=forking", "-p", "KillMode=none"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	if err := cmd.Start(); err != nil {
		return
	}
	issued := time.Now()
	w.starts.Go(func() {
		_ = cmd.Wait()
		_ = w.hold(name)
		w.tell(Event{Name: name, Detected: detected, Issued: issued})
	})
}

func (w *watcher) tell(e Event) {
	w.out.Lock()
	defer w.out.Unlock()
	_ = json.NewEncoder(w.o.Out).Encode(e)
}
