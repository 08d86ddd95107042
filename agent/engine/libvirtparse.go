package engine

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
)

// What virsh prints, read. Several commands are given to one virsh process; what each printed is told apart by marks that
// virsh's own echo prints between them.

const virtMark = "@atalaya"

// virtScript joins commands for one virsh process. They hold UUIDs and words of ours only, so nothing needs quoting. The
// last command is an echo, so the exit code speaks about the connection only.
func virtScript(cmds []string) string {
	var b strings.Builder
	for i, c := range cmds {
		fmt.Fprintf(&b, "echo %s %d; %s; ", virtMark, i, c)
	}
	b.WriteString("echo " + virtMark + " end")
	return b.String()
}

// virtItems takes apart what n commands printed. ok is false when something is missing: then nothing is believed.
func virtItems(b []byte, n int) (items []string, ok bool) {
	rest := string(b)
	_, rest, ok = strings.Cut("\n"+rest, "\n"+virtMark+" 0\n")
	for i := range n {
		mark := fmt.Sprintf("%s %d\n", virtMark, i+1)
		if i == n-1 {
			mark = virtMark + " end\n"
		}
		var item string
		var found bool
		if item, rest, found = strings.Cut("\n"+rest, "\n"+mark); !found {
			return nil, false
		}
		items = append(items, strings.TrimPrefix(item, "\n"))
	}
	return items, ok
}

// virtErrors are the errors that virsh told, which begin after a blank line on its standard output.
func virtErrors(stderr []byte) []string {
	var out []string
	for line := range strings.Lines(string(stderr)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "error:"); ok && strings.TrimSpace(text) != "" {
			out = append(out, tidy(text))
		}
	}
	return out
}

func nonEmptyLines(s string) []string {
	var out []string
	for line := range strings.Lines(s) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
			out = append(out, line)
		}
	}
	return out
}

// virtMistaken tells a name that virsh takes for something else.
func virtMistaken(name string) bool {
	_, err := strconv.Atoi(name)
	return err == nil || vzUUIDRE.MatchString(name) || len(name) == 32 && strings.Trim(strings.ToLower(name), "0123456789abcdef") == ""
}

func virtNumber(b []byte) int {
	n, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// virtNamed is a line of "list --uuid --name".
type virtNamed struct{ uuid, name string }

// parseVirtNames reads "list --all --uuid --name".
func parseVirtNames(item string) ([]virtNamed, error) {
	var out []virtNamed
	for _, line := range nonEmptyLines(item) {
		uuid, name, ok := strings.Cut(line, " ")
		if !ok || !vzUUIDRE.MatchString(uuid) || name == "" {
			return nil, fmt.Errorf("virsh list said %q, which is no UUID and name", tidy(line))
		}
		out = append(out, virtNamed{strings.ToLower(uuid), name})
	}
	return out, nil
}

// parseVirtUUIDs reads "list --uuid" with some filter.
func parseVirtUUIDs(item string) (map[string]bool, error) {
	out := map[string]bool{}
	for _, line := range nonEmptyLines(item) {
		uuid := strings.ToLower(strings.TrimSpace(line))
		if !vzUUIDRE.MatchString(uuid) {
			return nil, fmt.Errorf("virsh list said %q, which is no UUID", tidy(line))
		}
		out[uuid] = true
	}
	return out, nil
}

// virtSaid is what libvirt says about one domain. A reason is "" where it was not told.
type virtSaid struct {
	domid         string // "-": does not run; empty: not told
	state, reason string // libvirt's words
}

var (
	virtStatRE = regexp.MustCompile(`^  state\.(state|reason)=(-?[0-9]+)$`)
	virtRowRE  = regexp.MustCompile(`^ ([0-9]+|-) +(.+)$`)
)

// parseVirtStats reads "domstats --state", by name.
func parseVirtStats(item string) (map[string]virtSaid, error) {
	out := map[string]virtSaid{}
	name, numbers := "", map[string]int{}
	take := func() {
		if name != "" {
			out[name] = virtNumbered(numbers)
		}
		name, numbers = "", map[string]int{}
	}
	for _, line := range nonEmptyLines(item) {
		if quoted, ok := strings.CutPrefix(line, "Domain: '"); ok && strings.HasSuffix(quoted, "'") {
			take()
			name = strings.TrimSuffix(quoted, "'")
			continue
		}
		if m := virtStatRE.FindStringSubmatch(line); m != nil && name != "" {
			if n, err := strconv.Atoi(m[2]); err == nil {
				numbers[m[1]] = n
			}
			continue
		}
		if name == "" || !strings.HasPrefix(line, "  ") { // what else later versions tell is not for us
			return nil, fmt.Errorf("virsh domstats said %q", tidy(line))
		}
	}
	take()
	return out, nil
}

// parseVirtTable reads "list --all", whose names may hold blanks; all names are known from elsewhere. The longest that
// fits is meant.
func parseVirtTable(item string, names []virtNamed) (map[string]virtSaid, error) {
	out := map[string]virtSaid{}
	for i, line := range nonEmptyLines(item) {
		if i == 0 && strings.HasPrefix(line, " Id ") || strings.Trim(line, "-") == "" {
			continue
		}
		m := virtRowRE.FindStringSubmatch(line)
		if m == nil {
			return nil, fmt.Errorf("virsh list said %q", tidy(line))
		}
		best := ""
		for _, n := range names {
			if strings.HasPrefix(m[2], n.name+"  ") && len(n.name) > len(best) {
				best = n.name
			}
		}
		if best != "" {
			out[best] = virtSaid{domid: m[1], state: strings.TrimSpace(m[2][len(best):])}
		}
	}
	return out, nil
}

// parseVirtReason reads "domstate --reason": "shut off (destroyed)".
func parseVirtReason(item string) (state, reason string, ok bool) {
	lines := nonEmptyLines(item)
	if len(lines) != 1 {
		return "", "", false
	}
	state, reason, ok = strings.Cut(strings.TrimSpace(lines[0]), " (")
	return state, strings.TrimSuffix(reason, ")"), ok && state != "" && strings.HasSuffix(reason, ")")
}

// parseVirtAddrs reads the tables of "domifaddr". A neighbour entry has the length 0 there, and is one address.
func parseVirtAddrs(item string) []health.Addr {
	var out []health.Addr
	iface, mac := "", ""
	for _, line := range nonEmptyLines(item) {
		f := strings.Fields(line)
		if len(f) != 4 {
			continue
		}
		p, err := netip.ParsePrefix(f[3])
		if err != nil || f[2] != "ipv4" && f[2] != "ipv6" || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if p.Bits() == 0 {
			p = netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
		}
		if f[0] != "-" { // a further address of the interface above has dashes there
			iface, mac = f[0], f[1]
		}
		out = append(out, health.Addr{Prefix: p, Iface: iface, MAC: mac})
	}
	return out
}

// virtJob is what is under way with a domain; "" when nothing is.
type virtJob struct {
	operation string
	since     time.Time
}

// now is the job as it is told now, with the time at which it was first told to have begun: what is told differs by
// milliseconds each time.
func (j virtJob) now(next virtJob) virtJob {
	if j.operation == next.operation && next.since.Sub(j.since).Abs() < 2*time.Second {
		return j
	}
	return next
}

// parseVirtJob reads "domjobinfo".
func parseVirtJob(item string, now time.Time) virtJob {
	kind, job := "", virtJob{operation: "a job"}
	for _, line := range nonEmptyLines(item) {
		k, v, _ := strings.Cut(line, ":")
		switch v = strings.TrimSpace(v); strings.TrimSpace(k) {
		case "Job type":
			kind = v
		case "Operation":
			job.operation = strings.ToLower(tidy(v))
		case "Time elapsed": // "1500         ms"
			if f := strings.Fields(v); len(f) == 2 && f[1] == "ms" {
				job.since = now.Add(-time.Duration(virtNumber([]byte(f[0]))) * time.Millisecond)
			}
		}
	}
	if kind == "" || strings.EqualFold(kind, "None") || strings.EqualFold(kind, "Completed") {
		return virtJob{}
	}
	return job
}

// virtInfo is what "dominfo" tells of one domain.
type virtInfo struct {
	domid, name                 string
	autostart, saved, transient bool
}

// parseVirtInfo reads "dominfo".
func parseVirtInfo(item string) (i virtInfo, ok bool) {
	for _, line := range nonEmptyLines(item) {
		k, v, _ := strings.Cut(line, ":")
		switch v = strings.TrimSpace(v); k {
		case "Id":
			i.domid = v
		case "Name":
			i.name = v
		case "Persistent":
			i.transient = v == "no"
		case "Autostart":
			i.autostart = v == "enable"
		case "Managed save":
			i.saved = v == "yes"
		}
	}
	return i, i.name != ""
}

// virtEventRE is a line of the event stream; a name may hold anything but a slash and a newline, quotes too.
var virtEventRE = regexp.MustCompile(`event '[a-z-]+' for domain '(.+)': (.+)$`)

// parseVirtEvent reads a line of the event stream.
func parseVirtEvent(line []byte) (name, words string, ok bool) {
	m := virtEventRE.FindSubmatch(bytes.TrimRight(line, "\r\n"))
	if m == nil {
		return "", "", false
	}
	return string(m[1]), string(m[2]), true
}
