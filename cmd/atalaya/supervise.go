package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// This file is what the agent says to the systemd that supervises it; without one, it says nothing. See sd_notify(3) and
// systemd/atalaya.service.

// firstListWithin is how long the first lists are waited for: an engine whose tools hang must not hold up the start of a
// service that is there to tell of it, nor the services that are started after it.
const firstListWithin = 10 * time.Second

// supervised says that the agent is ready, then that it lives for as long as the decision loop turns, and at the end
// that it ends.
func supervised(ctx context.Context, p *parts, log *slog.Logger) {
	select {
	case <-p.agent.Ready():
	case <-time.After(firstListWithin):
		log.Warn("an engine has not given its first list yet; the agent goes on without")
	case <-ctx.Done():
	}
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady+"\nSTATUS=watching")
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog is not fed", "err", err)
	}
	if every > 0 {
		feed(ctx, p.agent.Pulse, every, log)
	}
	<-ctx.Done()
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
}

// feed tells systemd thrice per period that the agent lives, each time after the decision loop has turned, which is what
// pulse waits for.
func feed(ctx context.Context, pulse func(context.Context) error, every time.Duration, log *slog.Logger) {
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := within(ctx, every/3, pulse); err != nil && ctx.Err() == nil {
			log.Error("systemd is not told that the agent lives", "err", err)
			continue
		}
		_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
	}
}

func within(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}

// notifyReloading tells systemd, which wants the time of the monotonic clock with it.
func notifyReloading() {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err == nil {
		_, _ = daemon.SdNotify(false, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, ts.Nano()/1000))
	}
}

// notifyReloaded ends notifyReloading; what systemctl status shows beside the agent's name says how it went.
func notifyReloaded(err error, waiting []string) {
	status := "watching"
	if len(waiting) > 0 {
		status += "; waiting for a restart: " + strings.Join(waiting, ", ")
	}
	if err != nil {
		status = fmt.Sprintf("watching by an earlier configuration: the one read at %s is not valid", time.Now().Format(time.DateTime))
	}
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady+"\nSTATUS="+status)
}
