package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
)

// lxdSilent begins the detail of an instance whose state the daemon could not get.
const lxdSilent = "ERROR: its monitor does not answer"

// lxdCodes are the daemon's status codes, shared/api/status_code.go; names as it prints them.
func lxdCodes() map[int64]struct {
	word  string
	state health.RunState
} {
	type c = struct {
		word  string
		state health.RunState
	}
	return map[int64]c{
		100: {"Operation created", health.Busy}, 101: {"Started", health.Running}, 102: {"Stopped", health.Stopped},
		103: {"Running", health.Running}, 104: {"Cancelling", health.Busy}, 105: {"Pending", health.Busy},
		106: {"Starting", health.Busy}, 107: {"Stopping", health.Busy}, 108: {"Aborting", health.Busy},
		109: {"Freezing", health.Busy}, 110: {"Frozen", health.Paused}, 111: {"Thawed", health.Running},
		112: {"Error", health.Broken}, 113: {"Ready", health.Running},
	}
}

// lxdRunState reads the code, and the word where the code says nothing.
func lxdRunState(code int64, word string) (health.RunState, bool) {
	if c, ok := lxdCodes()[code]; ok {
		return c.state, true
	}
	for _, c := range lxdCodes() {
		if code == 0 && strings.EqualFold(c.word, word) {
			return c.state, true
		}
	}
	return health.Unknown, false
}

// sighting judges what the daemon says, against /proc. The caller holds mu.
func (l *lxd) sighting(in lxdInstance, now time.Time) health.Sighting {
	id := in.id()
	s := health.Sighting{
		Ref: l.ref(id), Name: id, Mark: string(in.Config["volatile.uuid"]), Autostart: lxdAutostart(in), Config: lxdConfig(in),
		Links: l.links(in), Tags: lxdTags(in), At: now,
	}
	if s.Mark == "" {
		s.Mark = string(in.Created)
	}
	l.judge(&s, in)
	if in.Config["boot.autorestart"].truth() {
		s.Supervisor = l.name + " (boot.autorestart)"
	}
	if origin := in.Config["volatile.evacuate.origin"]; origin != "" {
		s.Lock = &health.Lock{Operation: "evacuation from cluster member " + tidy(string(origin))}
	}
	if s.State == health.Stopped {
		s.OnPurpose = l.purpose(id, in)
	}
	return s
}

// judge fills in state, init and addresses. The caller holds mu.
func (l *lxd) judge(s *health.Sighting, in lxdInstance) {
	e := l.known[in.id()]
	if e == nil {
		e = &lxdEntry{}
		l.known[in.id()] = e
	}
	code, word := in.code()
	if in.StatusCode == 0 || in.State != nil && in.State.StatusCode == 0 || in.Type != "container" && in.Type != "virtual-machine" {
		l.notes.add("container %q: type %q, and not all of its status codes: %s prints another form than is known", in.id(), tidy(string(in.Type)), l.name)
	}
	state, ok := lxdRunState(code, word)
	if !ok {
		l.notes.add("state %q (%d) is none that is known: taken as unknown", tidy(word), code)
	}
	s.State, s.Detail = state, tidy(strings.ToUpper(word))
	lives := e.init.PID != 0 && alive(e.init)
	switch p, ok := l.identify(in.pid()); {
	case ok:
		e.init, e.addrs = p, lxdAddrs(in.State)
	case state == health.Broken && lives:
		s.State, s.Detail = health.Unknown, fmt.Sprintf("%s, and its init %d lives", lxdSilent, e.init.PID)
	case state == health.Broken:
		s.Detail = lxdSilent
	case state == health.Stopped && lives:
		s.State = health.Unknown
		s.Detail = fmt.Sprintf("%s says STOPPED, but its init %d lives", l.name, e.init.PID)
	case (state == health.Running || state == health.Paused) && in.State != nil:
		s.State = health.Unknown
		s.Detail = fmt.Sprintf("%s says %s, but its init %d is gone: it is just ending", l.name, s.Detail, in.pid())
		e.init, e.addrs = health.Process{}, nil
	case !lives:
		e.init, e.addrs = health.Process{}, nil
	}
	if s.State == health.Running || s.State == health.Stopped {
		s.Detail = ""
	}
	s.Init, s.Addrs = e.init, slices.Clone(e.addrs)
}

// truth is what the daemon takes for true (shared/util.go, IsTrue).
func (s looseString) truth() bool {
	switch strings.ToLower(string(s)) {
	case "true", "1", "yes", "on":
		return true
	}
	return false
}

// lxdAutostart: without the key the daemon starts what ran before, and calls it stopped after a crash too, so nothing is
// known.
func lxdAutostart(in lxdInstance) health.Tri {
	switch v := in.Config["boot.autostart"]; {
	case v == "":
		return health.Maybe
	case v.truth():
		return health.Yes
	}
	return health.No
}

// lxdConfig is a digest of what a person can change: neither what the daemon notes down while it works (volatile.*), nor
// what an image brought.
func lxdConfig(in lxdInstance) string {
	set := map[string]string{}
	for k, v := range in.Config {
		if !strings.HasPrefix(k, "volatile.") && !strings.HasPrefix(k, "image.") {
			set[k] = string(v)
		}
	}
	b, err := json.Marshal(struct {
		Config   map[string]string
		Devices  map[string]lxdDevice
		Profiles []string
	}{set, in.Devices, in.Profiles})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// lxdTags are the person's own keys, without "user."; long values belong to cloud-init.
func lxdTags(in lxdInstance) []string {
	var out []string
	for _, k := range sortedKeys(in.Config) {
		name, ok := strings.CutPrefix(k, "user.")
		if v := string(in.Config[k]); ok && len(v) < 128 && !strings.ContainsAny(v, "\r\n") {
			out = append(out, tidy(name+"="+v))
		}
	}
	return out
}

// links are the host interfaces that its network cards hang on. A managed network is a bridge of the same name, or none
// at all (OVN): it counts once it was seen as a bridge.
func (l *lxd) links(in lxdInstance) []string {
	var out []string
	for _, d := range in.Devices {
		if d["type"] != "nic" {
			continue
		}
		switch kind := d["nictype"]; {
		case d["parent"] != "" && (kind == "bridged" || kind == "macvlan" || kind == "ipvlan" || kind == "routed"):
			out = append(out, string(d["parent"]))
		case d["network"] != "" && l.isBridge(string(d["network"])):
			out = append(out, string(d["network"]))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (l *lxd) isBridge(name string) bool {
	if checkID(name) != nil {
		return false
	}
	if _, err := os.Stat("/sys/class/net/" + name + "/bridge"); err == nil {
		l.bridges[name] = true
	}
	return l.bridges[name]
}

// lxdAddrs takes the addresses by which others reach it.
func lxdAddrs(st *lxdState) []health.Addr {
	var out []health.Addr
	for _, iface := range sortedKeys(st.Network) {
		n := st.Network[iface]
		if iface == "lo" || n.Type == "loopback" {
			continue
		}
		for _, a := range n.Addresses {
			p, err := netip.ParsePrefix(string(a.Address) + "/" + string(a.Netmask))
			if err != nil || a.Scope != "global" {
				continue
			}
			out = append(out, health.Addr{Prefix: p, Iface: tidy(iface), MAC: tidy(string(n.MAC))})
		}
	}
	return out
}
