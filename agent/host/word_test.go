package host

import (
	"testing"
	"time"
)

// TestWords reads like the manual of Word. Times are relative to a boot at 10:00:00 UTC.
func TestWords(t *testing.T) {
	boot := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC).Local()
	at := func(d time.Duration) time.Time { return boot.Add(d) }
	say := func(format string, d time.Duration) string { return replaceClock(format, at(d)) }
	long := 100 * time.Hour
	cases := map[string]struct {
		lxc       unit
		other     unit
		system    string
		scheduled schedule
		now       time.Duration
		want      Word
	}{
		"all is well":           {lxc: unit{active: "active"}, now: long},
		"nothing is known":      {now: long},
		"it failed, not ours":   {lxc: unit{active: "failed", stopped: at(time.Hour)}, now: long},
		"never started":         {lxc: unit{active: "inactive"}, now: long},
		"degraded is not going": {system: "degraded", lxc: unit{active: "active"}, now: long},
		"shutdown": {
			system: "stopping", lxc: unit{active: "active"}, now: long,
			want: Word{Closed: "the host is shutting down (systemd is stopping)", Going: true},
		},
		"shutdown goes before everything": {
			system: "stopping", lxc: unit{active: "deactivating", job: "stop"}, now: time.Minute,
			want: Word{Closed: "the host is shutting down (systemd is stopping)", Going: true},
		},
		"a stop job that waits": {
			lxc: unit{active: "active", job: "stop"}, now: long,
			want: Word{Closed: "lxc.service is being stopped", Going: true},
		},
		"stopping": {
			lxc: unit{active: "deactivating", job: "stop"}, now: long,
			want: Word{Closed: "lxc.service is being stopped", Going: true},
		},
		"restarting": {
			lxc: unit{active: "deactivating", job: "restart"}, now: long,
			want: Word{Closed: "lxc.service is being restarted", Going: true},
		},
		"another of the engine's units": {
			lxc: unit{active: "active"}, other: unit{active: "deactivating"}, now: long,
			want: Word{Closed: "lxc-net.service is being stopped", Going: true},
		},
		"restarted, a late death": {
			lxc: unit{active: "activating", job: "start", started: at(long - time.Second), went: at(long - time.Second)}, now: long,
			want: Word{Closed: "lxc.service is starting its containers", Going: true},
		},
		"restarted, starting": {
			lxc: unit{active: "activating", job: "start", started: at(long - 5*time.Second), went: at(long - 5*time.Second)}, now: long,
			want: Word{Closed: "lxc.service is starting its containers"},
		},
		"restarted, and its start hangs": {
			lxc: unit{active: "activating", job: "start", started: at(long - 11*time.Minute)}, now: long,
		},
		"restarted just now": {
			lxc: unit{active: "active", went: at(long - time.Second)}, now: long,
			want: Word{Closed: "lxc.service was stopped just now", Going: true},
		},
		"restarted a while ago": {lxc: unit{active: "active", went: at(long - 3*time.Second)}, now: long},
		"stopped by somebody": {
			lxc: unit{active: "inactive", stopped: at(time.Hour), went: at(time.Hour)}, now: long,
			want: Word{Closed: say("lxc.service was stopped at CLOCK and has not been started again", time.Hour)},
		},
		"a daemon that ended by itself": {
			lxc: unit{active: "active"}, other: unit{active: "inactive", stopped: at(time.Hour)}, now: long,
		},
		"booting, in the queue": {
			lxc: unit{active: "inactive", job: "start"}, now: 5 * time.Second,
			want: Word{Closed: say("the host came up at CLOCK and lxc.service is still starting its containers", 0), Booting: true},
		},
		"booting": {
			lxc: unit{active: "activating", job: "start", started: at(3 * time.Second)}, now: 9 * time.Minute,
			want: Word{Closed: say("the host came up at CLOCK and lxc.service is still starting its containers", 0), Booting: true},
		},
		"restarted while booting": {
			lxc: unit{active: "activating", job: "restart", started: at(0)}, now: time.Minute,
			want: Word{Closed: "lxc.service is being restarted", Going: true},
		},
		"restarted soon after boot, starting": {
			lxc: unit{active: "activating", job: "start", started: at(50 * time.Second), went: at(49 * time.Second)}, now: time.Minute,
			want: Word{Closed: "lxc.service is starting its containers"},
		},
		"restarted soon after boot, says systemctl": {
			lxc: unit{active: "activating", started: at(50 * time.Second), stopped: at(49 * time.Second)}, now: time.Minute,
			want: Word{Closed: "lxc.service is starting its containers"},
		},
		"booting for too long": {
			lxc: unit{active: "activating", job: "start", started: at(0)}, now: 11 * time.Minute,
		},
		"a job that waits for ever": {lxc: unit{active: "inactive", job: "start"}, now: 11 * time.Minute},
		"a shutdown soon": {
			scheduled: schedule{at: at(long + 4*time.Minute), mode: "reboot"}, now: long,
			want: Word{Closed: say("the host is to go down at CLOCK (reboot, scheduled)", long+4*time.Minute)},
		},
		"a shutdown tonight":   {scheduled: schedule{at: at(long + time.Hour), mode: "poweroff"}, now: long},
		"a rehearsed shutdown": {scheduled: schedule{at: at(long + time.Minute), mode: "dry-poweroff"}, now: long},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := facts{
				system: c.system, scheduled: c.scheduled, booted: boot, boot: "b1",
				units: map[string]unit{"lxc.service": c.lxc, "lxc-net.service": c.other},
			}
			if f.system == "" {
				f.system = "running"
			}
			c.want.Boot = "b1"
			if got := judge(f, []string{"lxc.service", "lxc-net.service"}, "lxc.service", at(c.now)); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}
