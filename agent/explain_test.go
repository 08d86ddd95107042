package agent_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent/health"
)

// What an explanation says, in the states that people ask about.
func TestExplained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("db", "shop", "held", "sick", "dead", "off", "g", "h", "i", "j")
		w.guests["off"].off = true
		b := newBubble(t, w, t.TempDir(), dependent(map[string][]string{"shop": {"db"}}))
		defer b.stop()
		time.Sleep(2 * mnt)
		b.order("held", health.Order{Kind: health.OrderHold, Until: time.Now().Add(time.Hour), Reason: "new disk"})
		w.die("held", false)
		w.die("db", true)
		w.die("off", false)
		w.sicken(true, "shop")
		time.Sleep(31 * sec) // a second after its probe
		w.sicken(true, "sick")
		time.Sleep(24 * sec)
		for name, want := range map[string][]string{
			"held": {`"deferred"`, "In the way of an attempt: on hold until", "Next: it is looked at again when the hold ends"},
			"db":   {"Of the 5 attempts within 30m, 2 left", "its disk is gone", "These depend on it: custom/shop.", "Next: another look, and then an attempt"},
			"shop": {"In the way of an attempt: it depends on custom/db, which is stopped", "Next: it is looked at again when what it depends on is well"},
			"sick": {`Probe "check" has failed 2 of the 3 times in a row that count (it may cause a restart)`, `Next: if probe "check" fails once more in a row, it is looked at`},
			"off":  {"Nothing says that it should be running", "Next: nothing is done to it; the incident is closed when it runs again"},
			"g":    {"It should be running: its engine starts it at boot.", "Next: nothing, for as long as it is well"},
		} {
			e, err := b.agent.Explain(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(e.Words, "\n") + "\nNext: " + e.Next
			holds(t, name, text, want, nil)
			if len(e.Moments) == 0 {
				t.Errorf("%s: no moments", name)
			}
		}
	})
}
