package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// systemd hears that the agent lives only while the decision loop has a pulse: a ticker beside a stuck loop would keep a
// dead agent in office.
func TestTheWatchdogHangsOnTheLoop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	var stuck atomic.Bool
	var asked atomic.Int64
	pulse := func(context.Context) error {
		asked.Add(1)
		if stuck.Load() {
			return errors.New("stuck")
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); feed(ctx, pulse, 30*time.Millisecond, slog.New(slog.DiscardHandler)) }()
	heard := func(within time.Duration) bool {
		_ = systemd.SetReadDeadline(time.Now().Add(within))
		b := make([]byte, 64)
		n, _, err := systemd.ReadFrom(b)
		return err == nil && string(b[:n]) == "WATCHDOG=1"
	}
	if !heard(10 * time.Second) {
		t.Error("a loop with a pulse is not told of")
	}
	stuck.Store(true)
	for from := asked.Load(); asked.Load() < from+2; time.Sleep(time.Millisecond) { // the latest may have been on its way
	}
	for heard(time.Millisecond) {
	}
	if heard(200 * time.Millisecond) {
		t.Error("a stuck loop is told to live")
	}
	cancel()
	<-ended
}
