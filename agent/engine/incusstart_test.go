package engine_test

import (
	"context"
	"time"

	"atalaya/agent/health"
	"atalaya/cmd/atalaya-lab/scripted"
)

func (v *incusTest) startLies() {
	v.Make("brief", made{})
	v.Fault(scripted.Fault{On: "incus start", Do: scripted.Die})
	if a := v.i.Do(context.Background(), health.VerbStart, "brief", 0); a.Err != "" || a.Already {
		v.Errorf("%+v", a)
	}
	v.Heal()
	awaitState(v.T, v.i, "brief", health.Stopped)
	if s := look(v.T, v.i, "brief"); s.OnPurpose != "" || s.Finished || s.Init.PID != 0 {
		v.Errorf("%+v", s)
	}
	v.Fault(scripted.Fault{On: "incus start", Do: scripted.Answer, Reply: "start"})
	if a := v.i.Do(context.Background(), health.VerbStart, "brief", 0); a.Err != "" || look(v.T, v.i, "brief").State != health.Stopped {
		v.Errorf("it says so and does nothing: %+v", a)
	}
}

// A start that outlives its limit goes on, and a look finds it done.
func (v *incusTest) startsLate() {
	v.Make("late", made{})
	v.Fault(scripted.Fault{On: "incus start", Do: scripted.Hang, For: 3 * time.Second})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if a := v.i.Do(ctx, health.VerbStart, "late", time.Minute); !a.Transcript.Abandoned || a.Err == "" {
		v.Errorf("%+v", a)
	}
	if s := look(v.T, v.i, "late"); s.State != health.Stopped {
		v.Errorf("%+v", s)
	}
	awaitState(v.T, v.i, "late", health.Running)
}

func (v *incusTest) ignores() {
	before := v.see().Init
	v.set("deaf", "yes")
	if a := v.i.Do(context.Background(), health.VerbStop, "web1", time.Second); a.Cause != `Failed shutting down instance, status is "Running": shutting down the container failed` || a.Transcript.Exit != 1 {
		v.Errorf("%+v", a)
	}
	if s := v.see(); s.State != health.Running || s.Init != before || s.OnPurpose != "" {
		v.Errorf("%+v", s)
	}
}

func (v *incusTest) causes() {
	v.Make("bad", made{})
	for reply, want := range map[string]string{
		"start-rootfs":    `Failed to handle idmapped storage: No such file or directory: "/var/lib/incus/storage-pools/default/containers/bad/rootfs"`,
		"start-disk":      `Failed start validation for device "d": Missing source path "/srv/gone" for disk "d"`,
		"start-device":    `Failed to start device "d": The required device path doesn't exist and the major and minor settings are not specified`,
		"start-proxy":     `Failed to listen on 127.0.0.1:8080: listen tcp 127.0.0.1:8080: bind: address already in use`,
		"start-bridge":    `Failed to start device "eth0": Parent device "incusbr9" doesn't exist`,
		"start-forkstart": `No such file or directory - Failed to exec "/nosuch"`,
		"no-daemon":       `Get "http://unix.socket/1.0": dial unix /var/lib/incus/unix.socket: connect: no such file or directory`,
	} {
		v.Update("bad", func(c *scripted.Container) { c.Keys["fails"] = reply })
		if a := v.i.Do(context.Background(), health.VerbStart, "bad", 0); a.Cause != want || a.Err == "" || a.Already || a.Transcript.Exit != 1 {
			v.Errorf("%s: %+v", reply, a)
		}
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "web1", 0); !a.Already || a.Err != "" {
		v.Errorf("%+v", a)
	}
	if a := v.i.Do(context.Background(), health.VerbKill, "web1", 0); a.Err != "" {
		v.Errorf("%+v", a)
	}
	if a := v.i.Do(context.Background(), health.VerbKill, "web1", 0); a.Cause != "The instance is already stopped" || a.Transcript.Exit != 1 {
		v.Errorf("%+v", a)
	}
	if a := v.i.Do(context.Background(), health.VerbStart, "nosuch", 0); a.Cause != "Instance not found" || a.Transcript.Exit != 1 {
		v.Errorf("%+v", a)
	}
	if out := v.i.Exec(context.Background(), "web1", []string{"true"}, 5*time.Second); out.OK() {
		v.Errorf("it does not run: %+v", out)
	}
}
