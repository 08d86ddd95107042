package host

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/hostexec"
)

// This file asks systemd by systemctl(1), for when its socket cannot be used: three processes each time.

// A Runner runs host commands that only read: a hostexec.Host, here or over ssh.
type Runner interface {
	Read(ctx context.Context, c hostexec.Command) hostexec.Transcript
}

// systemctl asks through a Runner.
type systemctl struct{ run Runner }

const systemctlTimeout = 5 * time.Second

func (s systemctl) query(ctx context.Context, names []string) (string, map[string]unit, error) {
	system, err := s.ask(ctx, "show", "--property=SystemState", "--value")
	if err != nil {
		return "", nil, err
	}
	units := make(map[string]unit)
	if len(names) == 0 {
		return strings.TrimSpace(system), units, nil
	}
	shown, err := s.ask(ctx, slices.Concat([]string{"show", "--timestamp=unix",
		"--property=Id,ActiveState,InactiveExitTimestamp,ActiveExitTimestamp", "--"}, names)...)
	if err != nil {
		return "", nil, err
	}
	jobs, err := s.ask(ctx, "list-jobs", "--no-legend", "--plain", "--full")
	if err != nil {
		return "", nil, err
	}
	parseShow(shown, units)
	parseJobs(jobs, units)
	return strings.TrimSpace(system), units, nil
}

func (s systemctl) ask(ctx context.Context, args ...string) (string, error) {
	argv := append([]string{"systemctl", "--no-pager", "--no-ask-password"}, args...)
	t := s.run.Read(ctx, hostexec.Command{Argv: argv, Timeout: systemctlTimeout})
	if err := t.Err(); err != nil {
		return "", fmt.Errorf("ask systemd: %w", err)
	}
	return string(t.Stdout), nil
}

// parseShow reads blocks of NAME=value lines with an empty line between units.
func parseShow(text string, units map[string]unit) {
	for block := range strings.SplitSeq(text, "\n\n") {
		var name string
		var u unit
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch key {
			case "Id":
				name = value
			case "ActiveState":
				u.active = value
			case "InactiveExitTimestamp":
				u.started = unixTime(value)
			case "ActiveExitTimestamp":
				u.stopped = unixTime(value)
			}
		}
		if name != "" {
			units[name] = u
		}
	}
}

// unixTime reads "@1763950000", as systemctl --timestamp=unix (systemd 247) writes; anything else is no time.
func unixTime(s string) time.Time {
	sec, err := strconv.ParseInt(strings.TrimPrefix(s, "@"), 10, 64)
	if err != nil || sec <= 0 {
		return time.Time{}
	}
	return time.Unix(sec, 0)
}

// parseJobs reads lines of ID UNIT TYPE STATE.
func parseJobs(text string, units map[string]unit) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		if u, ok := units[f[1]]; ok {
			u.job = f[2]
			units[f[1]] = u
		}
	}
}
