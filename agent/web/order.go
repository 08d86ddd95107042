package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode"

	"atalaya/agent/health"
)

// MaxHold is the longest hold that is taken: hands off is for a time, and a person renews it.
const MaxHold = 366 * 24 * time.Hour

// maxText bounds a name and a reason, in bytes.
const maxText = 1000

// An OrderRequest is a person's word, as the control socket takes it.
type OrderRequest struct {
	Kind   health.OrderKind `json:"kind"`
	Name   string           `json:"name,omitempty"` // "web1", "lxc/web1" or "lxc:backup/web1"
	All    bool             `json:"all,omitempty"`  // instead of a name, for hold and release
	For    Duration         `json:"for,omitzero"`   // of a hold, counted from now: "1h30m"
	Reason string           `json:"reason,omitempty"`
	By     string           `json:"-"` // filled by the server, from the credentials that the kernel gives
}

// An OrderReply says what an order was taken for.
type OrderReply struct {
	Kind       health.OrderKind `json:"kind"`
	Containers []string         `json:"containers"`
	Released   []string         `json:"released,omitempty"` // those of them of which it ended a hold
	By         string           `json:"by"`
	Until      time.Time        `json:"until,omitzero"`    // of a hold
	Warning    string           `json:"warning,omitempty"` // it holds, but not as it should: not on disk yet
}

// Validate says what is wrong with the order, and how to say it right.
func (o OrderRequest) Validate() error {
	all := o.Kind == health.OrderHold || o.Kind == health.OrderRelease
	switch {
	case o.Kind != health.OrderWant && o.Kind != health.OrderUnwant && !all:
		return fmt.Errorf("%q is no order: it is want, unwant, hold or release", o.Kind)
	case o.All && !all:
		return fmt.Errorf("%q takes one container, not all", o.Kind)
	case o.All && o.Name != "":
		return errors.New("a name, or all: not both")
	case !o.All && o.Name == "":
		return errors.New("which container? 'atalaya status' lists their names")
	case len(o.Name) > maxText || len(o.Reason) > maxText:
		return fmt.Errorf("a name or a reason has at most %d bytes", maxText)
	case hasControl(o.Reason):
		return errors.New("the reason is one line of text, without control characters")
	case o.Kind != health.OrderHold && o.For != 0:
		return fmt.Errorf("%q takes no duration", o.Kind)
	case o.Kind == health.OrderHold && o.Reason == "":
		return errors.New("a hold needs a reason: whoever finds it must know why")
	case o.Kind == health.OrderHold && (o.For <= 0 || time.Duration(o.For) > MaxHold):
		return fmt.Errorf("a hold needs a duration, at most %d days: nobody remembers to end one that has no end", int(MaxHold.Hours()/24))
	}
	return nil
}

func hasControl(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return true
		}
	}
	return false
}

// A Duration is written in JSON as people write it: "1h30m".
type Duration time.Duration

// MarshalJSON writes it quoted.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads what time.ParseDuration reads, quoted. A bare number is refused: nobody knows its unit.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a duration is text with its unit, \"1h30m\", not %s", b)
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}
