package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A nspawnUnit is what "systemctl show" tells of one unit.
type nspawnUnit map[string]string

// nspawnProperties are those that are asked for; see org.freedesktop.systemd1(5).
const nspawnProperties = "Id,LoadState,LoadError,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,UnitFileState,MainPID,Restart,Job,StateChangeTimestampMonotonic,FreezerState,FragmentPath,DropInPaths,TimeoutStopUSec"

// parseSystemctlShow reads blocks of KEY=VALUE, parted by empty lines. A unit that fits two patterns is printed twice.
func parseSystemctlShow(b []byte) (map[string]nspawnUnit, error) {
	out := map[string]nspawnUnit{}
	for block := range bytes.SplitSeq(bytes.TrimSpace(b), []byte("\n\n")) {
		u := nspawnUnit{}
		for line := range strings.Lines(string(block)) {
			key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
			if ok {
				u[key] = value
			}
		}
		if len(u) == 0 {
			continue
		}
		if u["Id"] == "" || u["ActiveState"] == "" || u["LoadState"] == "" {
			return nil, fmt.Errorf("%.60q tells neither Id nor states of a unit", block)
		}
		out[u["Id"]] = u
	}
	return out, nil
}

// span reads a time span as systemd prints it: "1min 30s", "infinity"; 0 when it is none.
func (u nspawnUnit) span(key string) time.Duration {
	var sum time.Duration
	units := map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	for f := range strings.FieldsSeq(u[key]) {
		digits := strings.TrimRight(f, "abcdefghijklmnopqrstuvwxyz")
		n, err := strconv.ParseFloat(digits, 64)
		unit, ok := units[f[len(digits):]]
		if f == "infinity" {
			return 24 * time.Hour
		}
		if err != nil || !ok || n < 0 || n > 1e6 {
			return 0
		}
		sum += time.Duration(n * float64(unit))
	}
	return sum
}

// A nspawnStray is a machine that runs by something else than its systemd-nspawn@ unit.
type nspawnStray struct {
	name, unit string
	leader     int
	file       string // of machined, by inode and time: another one is another life
}

// parseMachines reads "machinectl show", and gives those that systemd-nspawn runs: libvirt's have engines of their own.
func parseMachines(b []byte) map[string]nspawnStray {
	out := map[string]nspawnStray{}
	for block := range bytes.SplitSeq(bytes.TrimSpace(b), []byte("\n\n")) {
		u := nspawnUnit{}
		for line := range strings.Lines(string(block)) {
			if key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok {
				u[key] = value
			}
		}
		leader, err := strconv.Atoi(u["Leader"])
		if u["Service"] != "systemd-nspawn" || u["Class"] != "container" || err != nil || checkNspawnID(u["Name"]) != nil {
			continue
		}
		out[u["Name"]] = nspawnStray{name: u["Name"], unit: u["Unit"], leader: leader}
	}
	return out
}

// parseMachineAddrs reads "machinectl list --output=json": the addresses by name, one a line or in one line.
func parseMachineAddrs(b []byte) (map[string][]string, error) {
	var rows []struct {
		Machine   looseString `json:"machine"`
		Addresses looseString `json:"addresses"`
	}
	if err := json.Unmarshal(b, &rows); err != nil {
		return nil, fmt.Errorf("read the list of machines: %w", err)
	}
	out := map[string][]string{}
	for _, r := range rows {
		out[string(r.Machine)] = strings.Fields(string(r.Addresses))
	}
	return out, nil
}

// A journalLine is one entry of "journalctl --output=json".
type journalLine struct {
	Message journalText `json:"MESSAGE"`
	ID      looseString `json:"MESSAGE_ID"`
	Unit    looseString `json:"UNIT"`
	Job     looseString `json:"JOB_TYPE"`
	Ident   looseString `json:"SYSLOG_IDENTIFIER"`
	Name    looseString `json:"NAME"`
	Micros  looseInt    `json:"__REALTIME_TIMESTAMP"`
}

func (j journalLine) at() time.Time { return time.UnixMicro(int64(j.Micros)) }

// journalText is a field: text, or an array of bytes where it holds what is no text, or several of either, or null when
// it is too long.
type journalText string

// UnmarshalJSON implements json.Unmarshaler.
func (s *journalText) UnmarshalJSON(b []byte) error {
	var text string
	var nums []uint8
	var raw []int
	switch {
	case json.Unmarshal(b, &text) == nil:
	case json.Unmarshal(b, &raw) == nil:
		for _, n := range raw {
			nums = append(nums, uint8(n&0xff))
		}
		text = string(nums)
	}
	*s = journalText(text)
	return nil
}

// parseJournal reads one entry a line, and leaves out what is none.
func parseJournal(b []byte) []journalLine {
	var out []journalLine
	for line := range bytes.Lines(b) {
		var j journalLine
		if json.Unmarshal(line, &j) == nil {
			out = append(out, j)
		}
	}
	return out
}

// The catalog's ids of the messages of systemd and machined (sd-messages.h).
const (
	msgStarting     = "7d4958e842da4a758f6c1cdc7b36dcc5"
	msgStarted      = "39f53479d3a045ac8e11786248231fbf"
	msgStopping     = "de5b426a63be47a7b6ac3eaac82e2f6f"
	msgSuccess      = "7ad2d189f7e94e70a38c781354912448"
	msgMachineStart = "24d8d4452573402496068381a6312df2"
	msgSpawnFailed  = "641257651c1b4ec9a8624d7a40a9e1e7"
	msgMachineStop  = "58432bd3bace477cb514b56381b8a758"
)
