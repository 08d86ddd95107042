package host

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// links knows the interfaces of the host: read in full once, then kept current by what the kernel tells.
type links struct {
	log     *slog.Logger
	metrics *metrics
	changed func() // an interface that was asked about came, went, or changed

	mu    sync.Mutex
	read  bool // at least once: before, nothing is said to be missing
	live  bool // the kernel tells of changes
	all   map[int]link
	kinds map[string]string // of what was asked about, when it was last there
	asked map[string]bool
}

// A link is one interface.
type link struct {
	name, kind string
	up         bool
}

const (
	resubscribeEvery = time.Second
	maxRereads       = 10 // of one reading that changes interrupt; each takes some 0.1 ms
)

func newLinks(log *slog.Logger, m *metrics, changed func()) *links {
	return &links{
		log: log, metrics: m, changed: changed,
		all: make(map[int]link), kinds: make(map[string]string), asked: make(map[string]bool),
	}
}

// missing says which of these are not there or down.
func (l *links) missing(names []string) []string {
	l.mu.Lock()
	if !l.live { // then this is how a change is learned, by whoever asks first
		before := l.faults()
		if l.reread(); !maps.Equal(before, l.faults()) {
			defer l.changed()
		}
	}
	defer l.mu.Unlock()
	if !l.read {
		return nil
	}
	var said []string
	for _, name := range names {
		l.asked[name] = true
		if fault := l.fault(name); fault != "" {
			said = append(said, fault)
		}
	}
	slices.Sort(said)
	return slices.Compact(said)
}

// fault says what is wrong with one interface; l.mu is held.
func (l *links) fault(name string) string {
	kind := l.kinds[name]
	if kind == "" {
		kind = "bridge" // never seen: what containers need is nearly always one
	}
	for _, link := range l.all {
		if link.name != name {
			continue
		}
		l.kinds[name] = link.kind
		if !link.up {
			return link.kind + " " + name + " is down"
		}
		return ""
	}
	return kind + " " + name + " is missing"
}

// faults are those of all that was asked about; l.mu is held.
func (l *links) faults() map[string]string {
	found := make(map[string]string)
	for name := range l.asked {
		found[name] = l.fault(name)
	}
	return found
}

// reread reads all interfaces, and says whether it could; l.mu is held. What an interface that came or went meanwhile made
// inconsistent is read again: that is what happens all the time on a host that has just come up.
func (l *links) reread() bool {
	found, err := netlink.LinkList()
	for tries := 1; errors.Is(err, netlink.ErrDumpInterrupted) && tries < maxRereads; tries++ {
		found, err = netlink.LinkList()
	}
	if err != nil {
		l.metrics.failed.WithLabelValues(fromLinks).Inc()
		l.log.Warn("cannot read the interfaces of the host, what was known before is taken as true", "err", err)
		return false
	}
	clear(l.all)
	for _, each := range found {
		l.put(each)
	}
	l.read = true
	return true
}

// put takes in one interface; l.mu is held.
func (l *links) put(each netlink.Link) {
	a := each.Attrs()
	kind := "interface"
	if each.Type() == "bridge" {
		kind = "bridge"
	}
	l.all[a.Index] = link{name: a.Name, kind: kind, up: a.Flags&net.FlagUp != 0}
}

// run subscribes, again and again if it must, until ctx ends. Whatever is missed between two subscriptions is read.
func (l *links) run(ctx context.Context) {
	for ctx.Err() == nil {
		l.session(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(resubscribeEvery):
		}
	}
}

// session subscribes, reads everything, and takes in changes until the subscription fails, as it does when the kernel
// dropped some.
func (l *links) session(ctx context.Context) {
	updates := make(chan netlink.LinkUpdate, 64)
	done := make(chan struct{})
	var cause error
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
		ErrorCallback: func(err error) { cause = err },
	})
	if err != nil {
		l.metrics.failed.WithLabelValues(fromLinks).Inc()
		l.log.Warn("cannot follow the interfaces of the host, reading them every second", "err", err)
		l.apply(func() { l.reread() })
		return
	}
	l.apply(func() { l.live = l.reread() }) // else they are read whenever they are asked about
	defer l.apply(func() { l.live = false })
	stop := context.AfterFunc(ctx, func() { close(done) })
	for u := range updates {
		l.apply(func() { l.take(u) })
	}
	if stop() { // it ended by itself
		close(done)
		l.metrics.failed.WithLabelValues(fromLinks).Inc()
		l.log.Warn("lost track of the interfaces of the host, reading them anew", "err", cause)
	}
}

// take applies one change; l.mu is held.
func (l *links) take(u netlink.LinkUpdate) {
	if u.Family == unix.AF_BRIDGE {
		return // a port that joined or left its bridge, which reads like one that came or went
	}
	if u.Header.Type == unix.RTM_DELLINK {
		delete(l.all, int(u.Index))
		return
	}
	l.put(u.Link)
}

// apply changes something and tells if that makes a difference to what was asked about.
func (l *links) apply(change func()) {
	l.mu.Lock()
	before := l.faults()
	change()
	different := !maps.Equal(before, l.faults())
	l.mu.Unlock()
	if different {
		l.changed()
	}
}
