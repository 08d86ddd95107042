package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"atalaya/agent/health"
)

// A vzRow is one container as vzlist prints it, of vzctl 4 or 7. Pointers tell "not printed" from null.
type vzRow struct {
	ID       *looseString `json:"ctid"`
	Name     looseString  `json:"name"`
	Status   looseString  `json:"status"`
	IP       vzWords      `json:"ip"`            // vzctl 4
	Config   vzWords      `json:"configured_ip"` // vzctl 7, whose "ip" may ask the container
	OnBoot   looseString  `json:"onboot"`        // true, false, null: unset
	Disabled looseBool    `json:"disabled"`
	HA       looseBool    `json:"ha_enable"` // vzctl 7
	silent   string       // vzlist hangs when it is asked about it: why nothing is known
}

// vzWords is an array of strings, or one string of words.
type vzWords []string

// UnmarshalJSON implements json.Unmarshaler.
func (w *vzWords) UnmarshalJSON(b []byte) error {
	var list []looseString
	if err := json.Unmarshal(b, &list); err == nil {
		*w = nil
		for _, s := range list {
			*w = append(*w, string(s))
		}
		return nil
	}
	var s looseString
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*w = strings.Fields(strings.ReplaceAll(string(s), ",", " "))
	return nil
}

// errVZBroken is what a vzlist that printed nothing means. It exits 0 then: on a host without its kernel or its module
// (samples/vzlist-session.txt, the first three commands).
var errVZBroken = errors.New("vzlist printed nothing, and exit 0 proves nothing")

// errVZJSON is what its unescaped quotes make of its answer.
var errVZJSON = errors.New("read its JSON")

// parseVZList reads vzlist -j. Containers there are none of print "[ ]"; nothing at all is no answer.
func parseVZList(b []byte) ([]vzRow, error) {
	if len(strings.TrimSpace(string(b))) == 0 {
		return nil, errVZBroken
	}
	var rows []vzRow
	if err := json.Unmarshal(b, &rows); err != nil {
		return nil, fmt.Errorf("%w: %w", errVZJSON, err)
	}
	for i, r := range rows {
		if r.ID == nil || *r.ID == "" {
			return nil, fmt.Errorf("%w: entry %d has no \"ctid\"", errVZJSON, i)
		}
	}
	return rows, nil
}

// parseVZTable reads vzlist -H -t -o ctid,status,ip: the fallback where an unescaped quote makes the JSON invalid. Columns
// are words, and the addresses come last.
func parseVZTable(b []byte) ([]vzRow, error) {
	var rows []vzRow
	if len(b) > 0 && b[len(b)-1] != '\n' {
		return nil, errors.New("read its table: it ends in the middle of a line")
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		id := looseString(f[0])
		if len(f) < 3 {
			return nil, fmt.Errorf("read its table: %q: want id, status and addresses", tidy(line))
		}
		r := vzRow{ID: &id, Status: looseString(f[1])}
		if f[2] != "-" {
			r.IP = f[2:]
		}
		if len(vzAddrs(r.IP)) != len(r.IP) {
			return nil, fmt.Errorf("read its table: %q: want addresses at its end", tidy(line))
		}
		rows = append(rows, r)
	}
	if rows == nil {
		return nil, errVZBroken
	}
	return rows, nil
}

// vzState reads a word of vzlist. Mounted is stopped: init is gone, the file system is not (FACTS §0.4).
func vzState(word string) (s health.RunState, detail string, known bool) {
	switch word {
	case "running":
		return health.Running, "", true
	case "stopped":
		return health.Stopped, "", true
	case "mounted":
		return health.Stopped, "mounted: its init ended and nothing unmounted it", true
	case "suspended", "paused":
		return health.Paused, word, true
	case "unknown": // of vzctl 7
		return health.Unknown, "unknown: vzlist cannot tell its state", true
	}
	return health.Unknown, fmt.Sprintf("vzlist says %q, which is no state of it", tidy(word)), false
}

// vzAddrs reads addresses as tools print them, "10.0.0.1" or "10.0.0.1/255.255.255.0". What is none is left out.
func vzAddrs(words []string) []health.Addr {
	var out []health.Addr
	for _, w := range words {
		ip, _, _ := strings.Cut(w, "/")
		if a, err := netip.ParseAddr(ip); err == nil && !a.IsUnspecified() {
			out = append(out, health.Addr{Prefix: netip.PrefixFrom(a, a.BitLen())})
		}
	}
	return out
}
