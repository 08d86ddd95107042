package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// What LXD and Incus print, as JSON: the documents of their API, shared/api/instance*.go, operation.go and event*.go.

// lxdInstance is one instance of "list --format json", or of a query with recursion=1 (without state in a list).
type lxdInstance struct {
	Name       looseString            `json:"name"`
	Project    looseString            `json:"project"`
	Type       looseString            `json:"type"` // container, virtual-machine
	Status     looseString            `json:"status"`
	StatusCode looseInt               `json:"status_code"`
	Location   looseString            `json:"location"`
	Created    looseString            `json:"created_at"`
	Used       looseString            `json:"last_used_at"` // when it was last started
	Ephemeral  looseBool              `json:"ephemeral"`
	Profiles   []string               `json:"profiles"`
	Config     map[string]looseString `json:"expanded_config"`
	Devices    map[string]lxdDevice   `json:"expanded_devices"`
	State      *lxdState              `json:"state"`
}

type lxdDevice map[string]looseString

type lxdState struct {
	Status     looseString           `json:"status"`
	StatusCode looseInt              `json:"status_code"`
	PID        looseInt              `json:"pid"` // of a VM that of its qemu
	Network    map[string]lxdNetwork `json:"network"`
}

type lxdNetwork struct {
	Addresses []struct {
		Family  looseString `json:"family"`
		Address looseString `json:"address"`
		Netmask looseString `json:"netmask"`
		Scope   looseString `json:"scope"`
	} `json:"addresses"`
	MAC  looseString `json:"hwaddr"`
	Type looseString `json:"type"`
}

func (in lxdInstance) id() string { return joinLXDID(string(in.Project), string(in.Name)) }

// code prefers what was asked last: the state is asked of the instance, after its row was made.
func (in lxdInstance) code() (code int64, word string) {
	if in.State != nil && (in.State.StatusCode != 0 || in.State.Status != "") {
		return int64(in.State.StatusCode), string(in.State.Status)
	}
	return int64(in.StatusCode), string(in.Status)
}

func (in lxdInstance) pid() int {
	if in.State == nil {
		return 0
	}
	return int(in.State.PID)
}

// used is when it was last started; zero when it never was.
func (in lxdInstance) used() time.Time {
	t, err := time.Parse(time.RFC3339Nano, string(in.Used))
	if err != nil || t.Year() <= 1970 {
		return time.Time{}
	}
	return t
}

// parseLXDList reads an array of instances. What is no instance is told and left out; a list of nothing else is none.
func parseLXDList(b []byte, n *notes) ([]lxdInstance, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return nil, errors.New("nothing was printed: a list of none is []")
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("no JSON array: %w", err)
	}
	if raw == nil {
		return nil, fmt.Errorf("%.20q is no list", b)
	}
	out := make([]lxdInstance, 0, len(raw))
	seen := map[string]bool{}
	for _, r := range raw {
		in, err := parseLXDInstance(r)
		if err != nil {
			n.add("an instance is not watched: %v", err)
			continue
		}
		if seen[in.id()] {
			n.add("container %q is listed twice: the first is taken", in.id())
			continue
		}
		seen[in.id()] = true
		out = append(out, in)
	}
	if len(out) == 0 && len(raw) > 0 {
		return nil, fmt.Errorf("none of %d elements is an instance", len(raw))
	}
	return out, nil
}

func parseLXDInstance(b []byte) (lxdInstance, error) {
	var in lxdInstance
	if err := json.Unmarshal(b, &in); err != nil {
		return in, fmt.Errorf("%.60q: %w", b, err)
	}
	if err := checkLXDID(in.id()); err != nil {
		return in, err
	}
	return in, nil
}

// lxdOperation is something that the daemon does, or has done in the last seconds.
type lxdOperation struct {
	Description looseString         `json:"description"`
	Class       looseString         `json:"class"`
	Created     looseString         `json:"created_at"`
	Err         looseString         `json:"err"`
	Resources   map[string][]string `json:"resources"`
}

// about tells whether an operation is at an instance of the project that was asked about.
func (o lxdOperation) about(name string) bool {
	for _, kind := range []string{"instances", "containers", "virtual-machines"} {
		for _, p := range o.Resources[kind] {
			if _, n, _ := lxdSource(p); n == name {
				return true
			}
		}
	}
	return false
}

// parseLXDOperations reads /1.0/operations?recursion=1 as "query --raw" prints it, with what is around every answer of
// the API: without it the client prints nothing at all where there is no operation (5.0.2). They are listed by status:
// "running", "success", ….
func parseLXDOperations(b []byte) (map[string][]lxdOperation, error) {
	var v struct {
		Type     looseString               `json:"type"`
		Metadata map[string][]lxdOperation `json:"metadata"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("read the list of operations: %w", err)
	}
	if v.Type != "sync" || v.Metadata == nil {
		return nil, fmt.Errorf("%.60q is no list of operations", b)
	}
	return v.Metadata, nil
}

// lxdEvent is one line of "monitor --type=lifecycle --format=json".
type lxdEvent struct {
	id, action string
	by         string // who asked for it; empty: nobody did
	at         time.Time
}

func parseLXDEvent(line []byte) (lxdEvent, bool) {
	var v struct {
		Type, Project, Timestamp looseString
		Metadata                 struct {
			Action, Source looseString
			Requestor      *struct{ Username, Protocol, Address looseString }
		}
	}
	if json.Unmarshal(line, &v) != nil || v.Type != "lifecycle" {
		return lxdEvent{}, false
	}
	project, name, rest := lxdSource(string(v.Metadata.Source))
	if project == "" {
		project = string(v.Project)
	}
	e := lxdEvent{id: joinLXDID(project, name), action: string(v.Metadata.Action)}
	if checkLXDID(e.id) != nil || rest {
		return lxdEvent{}, false
	}
	if r := v.Metadata.Requestor; r != nil {
		e.by = tidy(string(r.Username) + " (" + string(r.Protocol) + ")")
	}
	e.at, _ = time.Parse(time.RFC3339Nano, string(v.Timestamp))
	return e, true
}

// lxdSource takes "/1.0/instances/x1?project=p1" apart; before 3.x of the API it was "/1.0/containers/x1". rest tells that
// it goes on: a snapshot, a backup.
func lxdSource(text string) (project, name string, rest bool) {
	u, err := url.Parse(text)
	if err != nil {
		return "", "", false
	}
	f := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(f) < 3 || f[1] != "instances" && f[1] != "containers" && f[1] != "virtual-machines" {
		return "", "", false
	}
	return u.Query().Get("project"), f[2], len(f) > 3
}

// parseLXDServer reads the name of this member from /1.0.
func parseLXDServer(b []byte) (string, error) {
	var v struct {
		Environment struct {
			ServerName looseString `json:"server_name"`
		} `json:"environment"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return "", fmt.Errorf("read what the daemon says of itself: %w", err)
	}
	if v.Environment.ServerName == "" {
		return "", errors.New("the daemon does not say which member of its cluster this is: no environment.server_name in /1.0")
	}
	return string(v.Environment.ServerName), nil
}
