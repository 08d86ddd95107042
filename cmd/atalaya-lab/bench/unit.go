package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/cmd/atalaya-lab/rig"
)

// This file measures the agent where it lives: as the service of a host with systemd, where each start is a transient
// unit. Its floor is the floor program there, which starts by systemd-run.

// floorUnit is the floor program as a service of the host.
const floorUnit = `[Service]
ExecStart=/usr/bin/atalaya-lab floor --path /var/lib/lxc --units
KillMode=process
`

// unitConfig is the agent's in the host, less the line about evidence.
const unitConfig = "defaults: {budget: {attempts: 1000, delays: [0s]}}\nweb: {listen: off}\n"

// UnitKills are the times from kill -9 of an init to HTTP 200 in a host with systemd, in milliseconds.
type UnitKills struct {
	Floor, Agent, Evidence sample // Agent takes no evidence, Evidence waits for it as by default
}

// unitHost is a host whose running containers are killed.
type unitHost struct {
	*rig.Systemd
	ctx context.Context
}

// MeasureUnit kills containers of the host, rounds times each under each of three guards that take turns: the floor, the
// agent without evidence, the agent as by default. The containers run; the host has the agent's unit installed, not
// started, and /usr/bin/atalaya; lab is the lab's own binary. The agent's configuration and state are replaced.
func MeasureUnit(ctx context.Context, host *rig.Systemd, lab string, rounds int) (UnitKills, error) {
	h := unitHost{host, ctx}
	h.CopyIn(lab, "/usr/bin/atalaya-lab")
	h.Write("/etc/systemd/system/floor.service", floorUnit)
	h.MustExec("systemctl", "daemon-reload")
	var k UnitKills
	for range rounds {
		for _, c := range []struct {
			unit, config string
			into         *sample
		}{
			{"floor", "", &k.Floor},
			{"atalaya", unitConfig + "evidence: {before: 0s, after: 0s}\n", &k.Agent},
			{"atalaya", unitConfig, &k.Evidence},
		} {
			if err := h.guarded(c.unit, c.config, c.into); err != nil {
				return k, fmt.Errorf("by %s: %w", c.unit, err)
			}
		}
	}
	return k, nil
}

// guarded kills each container once while the unit runs.
func (h unitHost) guarded(unit, config string, into *sample) error {
	if config != "" {
		h.MustExec("rm", "-rf", "/var/lib/atalaya")
		h.Write("/etc/atalaya/atalaya.yaml", config)
	}
	h.MustExec("systemctl", "start", unit)
	defer h.MustExec("systemctl", "stop", unit)
	if err := pause(h.ctx, 2*time.Second); err != nil { // it holds every init, and nothing of its start is under way
		return err
	}
	for _, name := range h.Names() {
		took, err := h.kill(name)
		if err != nil {
			return err
		}
		*into = append(*into, millis(took))
		if err := pause(h.ctx, time.Second); err != nil { // what is done beside and after a start must not fall into the next
			return err
		}
	}
	return nil
}

func (h unitHost) kill(name string) (time.Duration, error) {
	// See killEach: a connection just before keeps the neighbour entry.
	if _, err := rig.WaitHTTP(h.ctx, h.URL(name), time.Minute); err != nil {
		return 0, err
	}
	pid, _ := h.GuestInit(name)
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, fmt.Errorf("hold init %d of %q: %w", pid, name, err)
	}
	defer func() { _ = unix.Close(fd) }()
	at := time.Now()
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		return 0, fmt.Errorf("kill init %d of %q: %w", pid, name, err)
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return 0, fmt.Errorf("init %d of %q did not end: %w", pid, name, err)
		}
		break
	}
	back, err := rig.WaitHTTP(h.ctx, h.URL(name), time.Minute)
	return back.Sub(at), err
}

// String is a table of medians, extremes and ratios.
func (k UnitKills) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "who\tkills\tHTTP 200 p50\tp99\tmin\tmax\tx floor\t")
	for _, row := range []struct {
		who string
		s   sample
	}{{"floor, by systemd-run", k.Floor}, {"atalaya, no evidence taken", k.Agent}, {"atalaya, with evidence", k.Evidence}} {
		low, high := row.s.extremes()
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t\n", row.who, len(row.s), row.s.median(), row.s.at(0.99), low, high,
			ratio(row.s.median(), k.Floor.median()))
	}
	_ = w.Flush() // into memory
	return b.String()
}

// Ratios are the medians of the agent, without and with evidence, over the floor's.
func (k UnitKills) Ratios() (agent, evidence float64) {
	return ratio(k.Agent.median(), k.Floor.median()), ratio(k.Evidence.median(), k.Floor.median())
}

// unit is the benchmark's part: a host of its own, with as many kills as the others have.
func (r *run) unit(ctx context.Context) error {
	const containers = 10
	if _, err := os.Stat(r.UnitFile); err != nil {
		return fmt.Errorf("find the agent's unit: %w", err)
	}
	h := rig.NewSystemd(r.Stage, rig.SystemdOptions{N: containers})
	h.CopyIn(r.Agent, "/usr/bin/atalaya")
	h.CopyIn(r.UnitFile, filepath.Join("/lib/systemd/system", "atalaya.service"))
	k, err := MeasureUnit(ctx, h, r.Lab, max(1, r.Kills/containers))
	if err != nil {
		return err
	}
	r.printf("\nas a service of a host with systemd: kill -9 of one init among %d, ms after the kill\n%s", containers, k)
	r.printf("aims: HTTP 200 p50 at most 1.15 x the floor, with evidence at most 45 ms more\n\n")
	return nil
}
