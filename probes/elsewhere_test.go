package probes

import (
	"context"
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An elsewhere is a thread in a network namespace of its own.
type elsewhere struct {
	tid  int
	jobs chan func()
}

func unshared(t *testing.T) *elsewhere {
	t.Helper()
	e := &elsewhere{jobs: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		e.tid = unix.Gettid()
		ready <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range e.jobs {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(e.jobs) })
	return e
}

// do runs f there. Processes that it starts are there too.
func (e *elsewhere) do(f func()) {
	done := make(chan struct{})
	e.jobs <- func() { defer close(done); f() }
	<-done
}

func (e *elsewhere) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	e.do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, addr) })
	return conn, err
}

// serve accepts and closes connections there.
func (e *elsewhere) serve(t *testing.T, addr string) {
	t.Helper()
	var l net.Listener
	err := errors.New("not tried")
	within(t, "listening on "+addr, func() bool {
		e.do(func() { l, err = net.Listen("tcp", addr) })
		return err == nil
	})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}

// linkLocal gives the link-local address of an interface there.
func (e *elsewhere) linkLocal(t *testing.T, link string) (addr string) {
	t.Helper()
	within(t, "a link-local address", func() bool {
		e.do(func() {
			i, err := net.InterfaceByName(link)
			if err != nil {
				return
			}
			all, _ := i.Addrs()
			for _, a := range all {
				if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() == nil && ip.IP.IsLinkLocalUnicast() {
					addr = ip.IP.String()
				}
			}
		})
		return addr != ""
	})
	return addr
}

// dialable says that something answers at addr, if only with a refusal.
func dialable(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		c.Close()
	}
	return err == nil || errors.Is(err, syscall.ECONNREFUSED)
}
