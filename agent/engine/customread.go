package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
)

// customReader chooses how the list is read.
func customReader(u *CustomSpec) (func([]byte) ([]customRow, error), error) {
	switch {
	case u.JSON != nil && u.Line != "":
		return nil, errors.New("custom.json and custom.line: the list is one or the other: remove one")
	case u.JSON != nil:
		if u.JSON.ID == "" || u.JSON.State == "" {
			return nil, errors.New("custom.json: id and state are required: give their paths in the JSON, such as \"name\" and \"status.state\"")
		}
		j := *u.JSON
		return func(b []byte) ([]customRow, error) { return parseCustomJSON(b, j) }, nil
	case u.Line != "":
		re, err := regexp.Compile(u.Line)
		if err != nil {
			return nil, fmt.Errorf("custom.line: %w", err)
		}
		for _, g := range []string{"id", "state"} {
			if re.SubexpIndex(g) < 0 {
				return nil, fmt.Errorf("custom.line: no group called %s: mark it with (?P<%s>…)", g, g)
			}
		}
		return func(b []byte) ([]customRow, error) { return parseCustomLines(b, re) }, nil
	}
	return nil, errors.New("custom: neither json nor line: say how the list is read")
}

// parseCustomLines reads one container a line. Lines that do not fit are headings; if there are only such, the list is
// not what was expected. Nothing printed is an empty list.
func parseCustomLines(b []byte, re *regexp.Regexp) ([]customRow, error) {
	var rows []customRow
	strange := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		m := re.FindStringSubmatch(line)
		if m == nil {
			if strange == "" {
				strange = strings.TrimSpace(line)
			}
			continue
		}
		group := func(name string) string {
			if i := re.SubexpIndex(name); i >= 0 {
				return strings.TrimSpace(m[i])
			}
			return ""
		}
		r := customRow{name: group("name"), state: group("state"), pid: group("pid"), autostart: group("autostart"), mark: group("mark")}
		r.id = m[re.SubexpIndex("id")]
		r.addrs = splitAddrs(group("addr"))
		rows = append(rows, r)
	}
	if len(rows) == 0 && strange != "" {
		return nil, fmt.Errorf("no line fits custom.line, the first is %.80q", strange)
	}
	return rows, nil
}

// parseCustomJSON reads an array, an array within a document, or one document a line.
func parseCustomJSON(b []byte, j CustomJSON) ([]customRow, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, errors.New("nothing was printed: an empty list in JSON is []")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var items []any
	for {
		var doc any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		found := doc
		if j.Items != "" {
			found = dig(doc, j.Items)
		}
		switch v := found.(type) {
		case []any:
			items = append(items, v...)
		case map[string]any:
			if j.Items != "" {
				return nil, fmt.Errorf("custom.json.items: %q is no array", j.Items)
			}
			items = append(items, v)
		case nil:
			return nil, fmt.Errorf("custom.json.items: nothing at %q", j.Items)
		default:
			return nil, fmt.Errorf("neither an array nor an object: %.40q", fmt.Sprint(v))
		}
	}
	rows := make([]customRow, 0, len(items))
	for _, it := range items {
		get := func(path string) string { return word(dig(it, path)) }
		r := customRow{id: get(j.ID), name: get(j.Name), state: get(j.State), pid: get(j.PID), autostart: get(j.Autostart), mark: get(j.Mark)}
		r.addrs = words(dig(it, j.Addresses))
		rows = append(rows, r)
	}
	return rows, nil
}

// dig follows a dotted path of object keys and array indices; nil where it leads nowhere.
func dig(v any, path string) any {
	if path == "" {
		return nil
	}
	for key := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return v
}

// word gives a scalar as text; "" for anything else.
func word(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

func words(v any) []string {
	if list, ok := v.([]any); ok {
		var out []string
		for _, e := range list {
			out = append(out, splitAddrs(word(e))...)
		}
		return out
	}
	return splitAddrs(word(v))
}

func splitAddrs(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == ';' })
}

// plausible refuses rows of which none has a known state: a message that happens to fit, as of a daemon that is starting,
// would make all containers missing.
func (u *CustomSpec) plausible(rows []customRow) error {
	for _, r := range rows {
		if _, known := u.States[r.state]; known {
			return nil
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return fmt.Errorf("none of its %d states is in custom.states, the first is %q: not believed", len(rows), tidy(rows[0].state))
}

// sightings judges the rows. What is not understood is told once, and unknown: never stopped.
func (c *custom) sightings(rows []customRow) []health.Sighting {
	names := make(map[string]string, len(rows))
	out := make([]health.Sighting, 0, len(rows))
	for _, r := range rows {
		if err := checkID(r.id); err != nil {
			c.notes.add("container not watched: %v", err)
			continue
		}
		if _, twice := names[r.id]; twice {
			c.notes.add("container %q is listed twice: the first is taken", r.id)
			continue
		}
		if checkID(r.name) != nil {
			r.name = r.id
		}
		names[r.id] = r.name
		out = append(out, c.sighting(r))
	}
	c.mu.Lock()
	c.names = names
	c.mu.Unlock()
	slices.SortFunc(out, func(a, b health.Sighting) int { return strings.Compare(a.Ref.ID, b.Ref.ID) })
	return out
}

func (c *custom) sighting(r customRow) health.Sighting {
	s := health.Sighting{Ref: c.ref(r.id), Name: r.name, Mark: tidy(r.mark), At: time.Now()}
	state, ok := c.spec.Custom.States[r.state]
	if !ok {
		c.notes.add("state %q is not in custom.states: taken as unknown", tidy(r.state))
		state = health.Unknown
	}
	s.State = state
	if state != health.Running && state != health.Stopped {
		s.Detail = tidy(r.state)
	}
	if state == health.Running || state == health.Paused || state == health.Broken {
		s.Init = c.init(r)
	}
	switch strings.ToLower(r.autostart) {
	case "1", "yes", "true", "on", "auto", "enable", "enabled", "always":
		s.Autostart = health.Yes
	case "0", "no", "false", "off", "disable", "disabled":
		s.Autostart = health.No
	}
	for _, a := range r.addrs {
		s.Addrs = appendPrefix(s.Addrs, a)
	}
	return s
}

// init reads the pid that the tool gives. One that is no process is not believed.
func (c *custom) init(r customRow) health.Process {
	if c.spec.far() || r.pid == "" || r.pid == "-" || r.pid == "0" || r.pid == "-1" {
		return health.Process{}
	}
	pid, err := strconv.Atoi(r.pid)
	if err != nil {
		c.notes.add("container %q: %q is no pid", r.id, tidy(r.pid))
		return health.Process{}
	}
	p, _ := identify(pid)
	return p
}

// appendPrefix takes an address with or without its prefix length.
func appendPrefix(to []health.Addr, text string) []health.Addr {
	if p, err := netip.ParsePrefix(text); err == nil {
		if n := len(to); len(appendAddr(to, p.Addr().String())) > n {
			return append(to, health.Addr{Prefix: p})
		}
		return to
	}
	return appendAddr(to, text)
}

// alreadyRE is how tools say that there was nothing to start.
var alreadyRE = regexp.MustCompile(`(?i)\b(is )?already (running|started|active|up)\b`)

// lastLine gives the last line that says anything.
func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return tidy(lines[len(lines)-1])
}
