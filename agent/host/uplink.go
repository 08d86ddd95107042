package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Whether this host itself is cut off: then what it cannot reach may be well. Passive signs come first and cost no packet;
// canaries are asked only where a person named some.

const (
	canaryWithin = 2 * time.Second // each
	canaryHolds  = 5 * time.Second // so long an answer of the canaries counts for all that fails
)

// CutOff says why a failure to reach an address says nothing about it; empty when nothing speaks for that. It is to be asked
// after a failure only: it costs some 0.2 ms, and up to two seconds where canaries are configured. What is on a link of this
// host, as containers on a bridge are, is never cut off by the way to the world.
func (w *Watcher) CutOff(ctx context.Context, to netip.Addr) string {
	routes, err := netlink.RouteGet(net.IP(to.AsSlice()))
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		return "this host itself has no route there"
	}
	if err != nil || len(routes) == 0 || routes[0].Gw == nil {
		return ""
	}
	why := uplinkDown(routes[0])
	if why == "" {
		why = gatewaySilent(routes[0])
	}
	if why != "" {
		return "this host itself is cut off: " + why
	}
	if w.canaries.silent(ctx) {
		return "this host itself is cut off: none of " + strings.Join(w.canaries.all, ", ") + " answers"
	}
	return ""
}

// uplinkDown says what is wrong with the way that a route takes.
func uplinkDown(r netlink.Route) string {
	link, err := netlink.LinkByIndex(r.LinkIndex)
	if err != nil {
		return ""
	}
	at := link.Attrs()
	switch {
	case at.Flags&net.FlagUp == 0:
		return fmt.Sprintf("the uplink %s is down", at.Name)
	case at.OperState == netlink.OperDown || at.OperState == netlink.OperLowerLayerDown:
		return fmt.Sprintf("the uplink %s has no carrier", at.Name)
	}
	return ""
}

// gatewaySilent says so where the kernel has just found it out. The entry tells of the last try, so it is only worth something
// right after one.
func gatewaySilent(r netlink.Route) string {
	family := unix.AF_INET
	if r.Gw.To4() == nil {
		family = unix.AF_INET6
	}
	all, err := netlink.NeighList(r.LinkIndex, family)
	if err != nil {
		return ""
	}
	for _, n := range all {
		if n.IP.Equal(r.Gw) && n.State&netlink.NUD_FAILED != 0 {
			return fmt.Sprintf("its gateway %s does not answer", r.Gw)
		}
	}
	return ""
}

// defaultRoutes gives the way to the world, for each family that has one.
func defaultRoutes() []netlink.Route {
	var out []netlink.Route
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.RouteList(nil, family)
		if err != nil {
			continue
		}
		for _, r := range all {
			if r.Gw != nil && (r.Dst == nil || r.Dst.IP.IsUnspecified()) && r.LinkIndex > 0 {
				out = append(out, r)
				break // the first is the one with the lowest metric
			}
		}
	}
	return out
}

// canaries are addresses of the world that should always answer, "host:port". Their names are looked up by the system.
type canaries struct {
	all []string

	mu    sync.Mutex
	asked time.Time
	none  bool // as it was found then
}

// silent reports whether none of them takes a connection. An answer counts for some seconds.
func (c *canaries) silent(ctx context.Context) bool {
	if len(c.all) == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.asked) < canaryHolds {
		return c.none
	}
	ctx, cancel := context.WithTimeout(ctx, canaryWithin)
	defer cancel()
	answers := make(chan bool, len(c.all))
	for _, to := range c.all {
		go func() {
			d := net.Dialer{KeepAlive: -1}
			conn, err := d.DialContext(ctx, "tcp", to)
			if err == nil {
				_ = conn.Close()
			}
			answers <- err == nil || errors.Is(err, unix.ECONNREFUSED) // who refuses is there
		}()
	}
	c.none = true
	for range c.all {
		if <-answers {
			c.none = false
			break
		}
	}
	c.asked = time.Now()
	return c.none
}
