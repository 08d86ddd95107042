package demo

import (
	"archive/zip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atalaya/cmd/atalaya-lab/rig"
)

// killedInit: the init process is killed; the container is back before anybody called.
func (d *demo) killedInit(ctx context.Context) error {
	d.story("1. The init process of web is killed (kill -9)")
	return d.broken(ctx, broken{name: "web", ref: "lxc/web", l: d.shop, within: 20 * time.Second, breakIt: func() time.Time {
		held := d.shop.HoldInit("web")
		_, at := d.shop.Kill9("web")
		if err := held.Wait(5 * time.Second); err != nil {
			d.Fatalf("wait for the end of init: %v", err)
		}
		return at
	}})
}

// hungServer: the container runs, and the web server in it hangs.
func (d *demo) hungServer(ctx context.Context) error {
	d.story("2. The web server in api hangs, and the container \"runs\" on (kill -STOP)")
	return d.broken(ctx, broken{name: "api", ref: "lxc/api", l: d.shop, within: 40 * time.Second, breakIt: func() time.Time {
		at := time.Now()
		d.shop.Hang("api")
		return at
	}})
}

// broken is a story in which the agent brings the container back by itself.
type broken struct {
	name, ref string
	l         *rig.LXC
	within    time.Duration
	breakIt   func() time.Time
}

func (d *demo) broken(ctx context.Context, b broken) error {
	at := b.breakIt()
	served, err := rig.WaitHTTP(ctx, b.l.URL(b.name), b.within)
	if err != nil {
		return fmt.Errorf("%s did not come back: %w; the end of the agent's log:\n%s", b.name, err, d.agent.tail())
	}
	end, err := d.agent.find(ctx, at, b.within, func(l line) bool { return l.Container == b.ref && l.Turn == "resolved" })
	if err != nil {
		return err
	}
	d.timeline(b.ref, "broken", at, served, end.Time)
	d.row("", fmt.Sprintf("the demo's clock: HTTP 200 again %s after the break; the agent's: %s", short(served.Sub(at)), outcome(end.Summary)))
	return d.alerts(ctx, at, "the break", b.name, "open", "resolved")
}

// outcome is the part of a summary that says how it ended.
func outcome(summary string) string {
	_, how, _ := strings.Cut(summary, ": ")
	return how
}

// timeline prints what the agent logged since the demo did something, and where in it the demo saw the container serve again.
func (d *demo) timeline(ref, done string, at, served, until time.Time) {
	d.moment(at, at, "demo", done)
	shown := false
	for _, l := range d.agent.between(ref, at, until.Add(time.Millisecond)) {
		if !shown && !served.IsZero() && l.Time.After(served) {
			d.moment(at, served, "demo", "HTTP 200")
			shown = true
		}
		if text := l.text(); text != "" {
			d.moment(at, l.Time, "agent", text)
		}
	}
	if !shown && !served.IsZero() {
		d.moment(at, served, "demo", "HTTP 200")
	}
}

// text is what a line of the log says to a reader; empty: nothing.
func (l line) text() string {
	switch {
	case l.Kind == "alert", l.Kind == "order":
		return ""
	case l.Kind != "":
		return l.What
	case l.Turn != "":
		return "alert (" + l.Turn + "): " + l.Summary
	}
	return ""
}

// alerts waits for the webhooks of a story and shows them, each with what the report of its own part of the evidence says.
func (d *demo) alerts(ctx context.Context, since time.Time, what, name string, kinds ...string) error {
	for _, kind := range kinds {
		g, err := d.receiver.wait(ctx, since, 15*time.Second, kind, name)
		if err != nil {
			return err
		}
		if len(g.Bundles) == 0 {
			return fmt.Errorf("the %q alert about %s came without evidence", kind, name)
		}
		own := g.Bundles[len(g.Bundles)-1]
		if kind == "open" { // a later part may have come in before it left
			own = g.Bundles[0]
		}
		d.row("webhook", fmt.Sprintf("%s, %d bytes, signature good, %s after %s", g.Kind, g.Bytes, short(g.At.Sub(since)), what)+
			fmt.Sprintf("\nbundle %s: %d files, every digest right, its own the one in the alert", filepath.Base(own.Path), own.Files))
		sentence, now := own.verdict()
		d.row("report", fill(sentence, 100)+"\n"+fill("now: "+now, 100))
	}
	return nil
}

// cannotStart: the container's bridge is gone. Attempts, the budget is spent, escalated; the bridge returns.
func (d *demo) cannotStart(ctx context.Context) error {
	d.story("3. The bridge of mail is taken away, and its init killed: it cannot start")
	d.mail.DeleteBridge()
	_, at := d.mail.Kill9("mail")
	const ref = "lxc:mail/mail"
	esc, err := d.agent.find(ctx, at, 30*time.Second, func(l line) bool { return l.Container == ref && l.Turn == "escalate" })
	if err != nil {
		return err
	}
	d.timeline(ref, "broken", at, time.Time{}, esc.Time)
	if err := d.alerts(ctx, at, "the break", "mail", "open", "escalate"); err != nil {
		return err
	}
	if err := d.engineWords(ctx, at); err != nil {
		return err
	}
	d.say("\n  The bridge comes back:")
	back := time.Now()
	d.mail.RestoreBridge()
	served, err := rig.WaitHTTP(ctx, d.mail.URL("mail"), 20*time.Second)
	if err != nil {
		return fmt.Errorf("mail did not come back with its bridge: %w; the end of the agent's log:\n%s", err, d.agent.tail())
	}
	end, err := d.agent.find(ctx, back, 20*time.Second, func(l line) bool { return l.Container == ref && l.Turn == "resolved" })
	if err != nil {
		return err
	}
	d.timeline(ref, "the bridge is back", back, served, end.Time)
	d.row("", fmt.Sprintf("the demo's clock: HTTP 200 %s after the bridge; the agent's: %s", short(served.Sub(back)), outcome(end.Summary)))
	return d.alerts(ctx, back, "the bridge", "mail", "resolved")
}

// engineWords shows, out of the bundle that was received, what the engine said and the log behind it.
func (d *demo) engineWords(ctx context.Context, since time.Time) error {
	g, err := d.receiver.wait(ctx, since, 5*time.Second, "open", "mail")
	if err != nil {
		return err
	}
	z, err := zip.OpenReader(g.Bundles[0].Path)
	if err != nil {
		return fmt.Errorf("open the received bundle: %w", err)
	}
	defer z.Close()
	for _, f := range z.File {
		if !strings.HasPrefix(f.Name, "action/") {
			continue
		}
		b, err := unpack(f)
		if err != nil {
			return fmt.Errorf("read %s of the received bundle: %w", f.Name, err)
		}
		d.say("\n  From the bundle, %s:", f.Name)
		for i, l := range strings.Split(strings.TrimSpace(string(b)), "\n") {
			if i < 4 {
				d.say("    | %s", clip(l, 150))
			}
		}
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// finish says where everything is.
func (d *demo) finish(ctx context.Context) error {
	d.story("What is left to look at")
	all, some, err := d.agent.metrics(ctx, "atalaya_attempts_total", "atalaya_incidents_total", "atalaya_deaths_total", "atalaya_recovery_seconds_sum", "atalaya_recovery_seconds_count")
	if err != nil {
		return err
	}
	path := filepath.Join(d.Keep, "metrics.txt")
	if err := os.WriteFile(path, []byte(all), 0o600); err != nil {
		return fmt.Errorf("keep the metrics: %w", err)
	}
	d.row("metrics", fmt.Sprintf("http://%s/metrics while the agent runs; kept in %s\n%s", d.agent.listen, path, strings.Join(some, "\n")))
	bundles, err := filepath.Glob(filepath.Join(d.Keep, "evidence", "*.zip"))
	if err != nil {
		return fmt.Errorf("list the bundles: %w", err)
	}
	d.row("bundles", fmt.Sprintf("%d in %s; open one with a double click and read REPORT.txt:\n%s", len(bundles), filepath.Join(d.Keep, "evidence"), strings.Join(bundles, "\n")))
	d.row("alerts", filepath.Join(d.Keep, "alerts.jsonl"))
	d.row("cleaning", "the agent, the containers and the bridges go now; the folder above stays")
	return nil
}
