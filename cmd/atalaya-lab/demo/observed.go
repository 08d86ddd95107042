package demo

import (
	"context"
	"fmt"
	"time"

	"atalaya/cmd/atalaya-lab/rig"
)

// observed plays the same failures to an agent that may only watch: nothing may be healed, and what could not start stays
// down when what it lacked is back.
func (d *demo) observed(ctx context.Context) error {
	d.story("mode: observe. The same failures; nothing is touched")
	at := time.Now()
	d.shop.Kill9("web")
	d.shop.Hang("api")
	d.mail.DeleteBridge()
	d.mail.Kill9("mail")
	for _, ref := range []string{"lxc/web", "lxc/api", "lxc:mail/mail"} {
		l, err := d.agent.find(ctx, at, 20*time.Second, func(l line) bool { return l.Container == ref && l.Turn == "open" })
		if err != nil {
			return err
		}
		d.moment(at, l.Time, "agent", l.Summary)
	}
	back := time.Now()
	d.mail.RestoreBridge()
	d.moment(at, back, "demo", "the bridge is back")
	if err := d.untouched(ctx, 4*time.Second); err != nil {
		return err
	}
	if _, err := rig.WaitHTTP(ctx, d.shop.URL("api"), time.Second); err == nil {
		return fmt.Errorf("api serves again in mode observe; nobody may have restarted it")
	}
	d.receiver.mu.Lock()
	defer d.receiver.mu.Unlock()
	if n := len(d.receiver.got); n > 0 {
		return fmt.Errorf("%d alerts were sent in mode observe", n)
	}
	d.say("  all three incidents were recorded, nothing was started, nothing was sent")
	return nil
}

// untouched looks for some polls of the agent whether what died stays down.
func (d *demo) untouched(ctx context.Context, within time.Duration) error {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		for name, l := range map[string]*rig.LXC{"web": d.shop, "mail": d.mail} {
			if st := l.State(name); st != "STOPPED" {
				return fmt.Errorf("%s is %s in mode observe; it must be left STOPPED", name, st)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil
}
