package agent_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
)

// dependent has containers depend on others.
func dependent(on map[string][]string) func(*agent.Settings) {
	return func(s *agent.Settings) {
		made := s.Setup
		s.Setup = func(g health.Sighting) agent.Setup {
			out := made(g)
			out.DependsOn = on[g.Ref.ID]
			return out
		}
	}
}

// While a database fails, the shop that needs it is neither restarted nor told of: the alert about the database names it,
// and what depends on the shop. Afterwards each is looked at again, and one that fails by itself is healed.
func TestWhatDependsOnAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("db", "shop", "front", "other", "a", "b", "c", "d", "e", "f")
		b := newBubble(t, w, t.TempDir(), dependent(map[string][]string{"shop": {"custom/db"}, "front": {"shop"}}))
		defer b.stop()
		time.Sleep(2 * mnt)
		w.die("db", true)
		w.sicken(true, "shop", "front")
		time.Sleep(5 * mnt)
		for id, why := range map[string]string{"shop": "it depends on custom/db, which is stopped", "front": "it depends on custom/db, which is stopped"} {
			if c := b.state(id); c.Phase != health.Deferred || c.Why != why || len(w.tried(id)) != 0 {
				t.Errorf("%s: %s, %q, tried %v", id, c.Phase, c.Why, w.tried(id))
			}
			b.alerted("custom/" + id)
		}
		open := b.alerts("custom/db")[0].Alert
		if fmt.Sprint(open.Affected) != "[custom/front custom/shop]" || !strings.Contains(open.Summary, "it takes down with it custom/front, custom/shop") {
			t.Errorf("affected: %v, %q", open.Affected, open.Summary)
		}
		w.do(func() { w.guests["db"].broken = false })
		w.sicken(false, "front")
		time.Sleep(40 * mnt)
		if c := b.state("db"); c.Phase != health.Up {
			t.Fatalf("db: %+v", c)
		}
		if tried := w.tried("shop"); len(tried) != 1 || tried[0].verb != "restart" || b.state("shop").Phase != health.Up {
			t.Errorf("shop, which was sick of its own: tried %v, %+v", tried, b.state("shop"))
		}
		if c := b.state("front"); c.Phase != health.Up || len(w.tried("front")) != 0 {
			t.Errorf("front: tried %v, %+v", w.tried("front"), c)
		}
	})
}

// What died by itself while the other failed is started once that is up, and not before; those that depend on each other
// wait for whoever failed first, and nobody waits for a name that is not there.
func TestTheOrderOfRecovery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("db", "shop", "left", "right", "c", "d", "e", "f", "g", "h")
		b := newBubble(t, w, t.TempDir(), dependent(map[string][]string{"shop": {"db", "nosuch"}, "left": {"right"}, "right": {"left"}}))
		defer b.stop()
		time.Sleep(2 * mnt)
		w.die("shop", false)
		w.die("db", false)
		time.Sleep(mnt)
		db, shop := w.tried("db"), w.tried("shop")
		if len(db) != 1 || len(shop) != 1 || shop[0].at.Before(db[0].at) {
			t.Errorf("db %v, shop %v", db, shop)
		}
		w.die("left", false)
		time.Sleep(mnt)
		if c := b.state("left"); c.Phase != health.Up || len(w.tried("left")) != 1 {
			t.Errorf("left: %+v", c)
		}
		w.die("shop", false)
		time.Sleep(mnt)
		if len(w.tried("shop")) != 2 {
			t.Errorf("shop: %v", w.tried("shop"))
		}
	})
}
