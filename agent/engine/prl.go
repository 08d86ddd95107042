package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// What prlctl and prlsrvctl print, read by pure functions.

// prlFields are those that prlctl list is asked for. ip_configured comes last, where it shows all addresses; ip would ask
// each running guest, for up to 60 s (FACTS §2).
const prlFields = "uuid,envid,status,type,ha_enable,name,ip_configured"

// A prlRow is one container or VM as prlctl list -j prints it, all values strings.
type prlRow struct {
	UUID   looseString `json:"uuid"`
	EnvID  looseString `json:"envid"`
	Status looseString `json:"status"`
	Type   looseString `json:"type"`
	HA     looseBool   `json:"ha_enable"`
	Name   looseString `json:"name"`
	IP     vzWords     `json:"ip_configured"`
	silent string      // see vzRow
}

// id is the UUID without braces, and env what its files are named by.
func (r prlRow) id() string { return strings.Trim(string(r.UUID), "{}") }

func (r prlRow) env() string {
	if e := strings.Trim(string(r.EnvID), "{}"); e != "" && e != "-" {
		return e
	}
	return r.id()
}

// parsePrlList reads prlctl list -j. Early versions do not escape what they print (OpenVZ/prlctl@0e819fa0
// src/PrlOutFormatter.cpp): there, it is read line by line.
func parsePrlList(b []byte) ([]prlRow, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, errors.New("prlctl printed nothing, and exit 0 proves nothing")
	}
	var rows []prlRow
	if err := json.Unmarshal(b, &rows); err != nil {
		if rows, err = parsePrlLines(b); err != nil {
			return nil, fmt.Errorf("read its JSON: %w", err)
		}
	}
	for i, r := range rows {
		if r.id() == "" {
			return nil, fmt.Errorf("read its JSON: entry %d has no \"uuid\"", i)
		}
	}
	return rows, nil
}

// prlLineRE is one key of such a list: tabs, the key, and a string to the end of the line.
var prlLineRE = regexp.MustCompile(`^\t+"([a-z_]+)": "(.*)",?$`)

// parsePrlLines reads a list whose strings hold quotes. It must be whole: from the bracket that opens it to the one that
// closes it.
func parsePrlLines(b []byte) ([]prlRow, error) {
	text := strings.TrimSpace(string(b))
	if !strings.HasPrefix(text, "[") || !strings.HasSuffix(text, "]") {
		return nil, errors.New("it is neither JSON nor a list that is whole")
	}
	var rows []prlRow
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.TrimSpace(line) == "{" {
			rows = append(rows, prlRow{})
			continue
		}
		m := prlLineRE.FindStringSubmatch(line)
		if m == nil || len(rows) == 0 {
			continue
		}
		r := &rows[len(rows)-1]
		switch m[1] {
		case "uuid":
			r.UUID = looseString(m[2])
		case "envid":
			r.EnvID = looseString(m[2])
		case "status":
			r.Status = looseString(m[2])
		case "type":
			r.Type = looseString(m[2])
		case "ha_enable":
			r.HA = m[2] == "yes"
		case "name":
			r.Name = looseString(m[2])
		case "ip_configured":
			r.IP = strings.Fields(m[2])
		}
	}
	if rows == nil {
		return nil, errors.New("it is not JSON, and nothing in it is a container")
	}
	return rows, nil
}

// A prlInfo is what prlctl list -i -j says of one.
type prlInfo struct {
	ID        looseString `json:"ID"`
	EnvID     looseString `json:"EnvID"`
	Name      looseString `json:"Name"`
	Type      looseString `json:"Type"`
	State     looseString `json:"State"`
	Template  looseBool   `json:"Template"`
	Autostart looseString `json:"Autostart"`
}

func parsePrlInfo(b []byte) (prlInfo, error) {
	var all []prlInfo
	if err := json.Unmarshal(b, &all); err != nil {
		return prlInfo{}, fmt.Errorf("read its JSON: %w", err)
	}
	if len(all) != 1 || all[0].ID == "" {
		return prlInfo{}, fmt.Errorf("read its JSON: %d entries where one was asked for, or no \"ID\"", len(all))
	}
	return all[0], nil
}

// prlState reads a state of prlctl (OpenVZ/prlctl src/Utils.cpp vmstate2str). In a transition nobody may touch it; invalid
// means that the dispatcher itself cannot tell.
func prlState(word string) (s health.RunState, detail string, known bool) {
	switch word {
	case "running":
		return health.Running, "", true
	case "stopped":
		return health.Stopped, "", true
	case "mounted":
		return health.Stopped, "mounted: its init ended and nothing unmounted it", true
	case "paused", "suspended":
		return health.Paused, word, true
	case "starting", "restoring", "resetting", "pausing", "suspending", "stopping", "compacting", "snapshoting", "continuing",
		"migrating", "del_snapshot", "resuming", "syncing", "reconnecting":
		return health.Busy, word, true
	case "invalid":
		return health.Broken, "invalid: the dispatcher cannot tell its state", true
	}
	return health.Unknown, fmt.Sprintf("prlctl says %q, which is no state of it", tidy(word)), false
}

// prlCause gives the innermost words of prlctl: those of vzctl where it passes them on, else what stands behind its own
// "Failed to …: ".
func prlCause(stderr []byte) string {
	outer := ""
	for line := range strings.Lines(string(stderr)) {
		line = tidy(line)
		if head, words, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(head, "Failed to ") {
			outer = words
			continue
		}
		if !vzNoise(line) {
			return line
		}
	}
	return outer
}

// readPrlAnswer takes an answer of prlctl: exit 255 is nearly everything, so its words must tell (FACTS §2).
func readPrlAnswer(t hostexec.Transcript, _ []byte) Answer {
	var a Answer
	a.Already = strings.Contains(string(t.Stderr)+string(t.Stdout), "already running")
	err := t.Err()
	if err == nil || a.Already {
		return a
	}
	a.Err, a.Cause = err.Error(), prlCause(t.Stderr)
	if words := prlExit(t.Exit); words != "" {
		a.Cause = strings.TrimPrefix(a.Cause+" ("+words+")", " ")
	}
	return a
}

// prlExit says what the exit codes of prlctl mean that mean anything (OpenVZ/prlctl src/Utils.cpp prlerr2exitcode).
func prlExit(code int) string {
	switch code {
	case 253:
		return "exit 253: the dispatcher cannot be reached"
	case 254:
		return "exit 254: the dispatcher is frozen"
	}
	return ""
}

// maxEvent bounds one event of prlsrvctl monitor, in bytes: it may hold a whole configuration.
const maxEvent = 1 << 20

// prlEvents puts the events of prlsrvctl monitor together: JSON objects, one behind the other, over many lines
// (OpenVZ/prlctl@7be7d10e src/PrlSrv.cpp server_event_handler_monitor). An object opens with a line "{" and closes with a
// line "}", which holds also where the strings in it are not escaped. One on a line of its own is taken as well.
type prlEvents struct{ buf []byte }

var (
	prlEventTypeRE = regexp.MustCompile(`"event_type"\s*:\s*"?([A-Za-z_0-9]+)"?`)
	prlEventIDRE   = regexp.MustCompile(`"ID"\s*:\s*"\{?([0-9a-fA-F-]{36})\}?"`)
)

// feed takes the next line. Once an event is whole it gives its type and the id of the container, "" where it names none;
// an event that makes no sense has no type.
func (e *prlEvents) feed(line []byte) (kind, id string, whole bool) {
	if string(line) == "{" || len(e.buf) > maxEvent {
		whole = len(e.buf) > maxEvent // lost: something has happened, and nobody knows to whom
		e.buf = e.buf[:0]
	}
	e.buf = append(append(e.buf, line...), '\n')
	oneLine := len(line) > 2 && line[0] == '{' && line[len(line)-1] == '}'
	if string(line) != "}" && !oneLine {
		return "", "", whole
	}
	if m := prlEventTypeRE.FindSubmatch(e.buf); m != nil {
		kind = string(m[1])
	}
	if m := prlEventIDRE.FindSubmatch(e.buf); m != nil {
		id = strings.ToLower(string(m[1]))
	}
	e.buf = e.buf[:0]
	return kind, id, true
}
