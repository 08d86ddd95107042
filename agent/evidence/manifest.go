package evidence

import (
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

// ManifestSchema is the version of the Manifest document. It changes when a reader would have to.
const ManifestSchema = "atalaya.evidence/v1"

// A Manifest is manifest.json: what the bundle holds, how each piece was taken, and what is missing and why.
type Manifest struct {
	Schema    string      `json:"schema"`
	Incident  string      `json:"incident"`
	Part      int         `json:"part"`
	Container string      `json:"container"`
	Name      string      `json:"name,omitempty"`
	Reason    string      `json:"reason,omitempty"`
	Host      health.Host `json:"host"`
	Kernel    string      `json:"kernel,omitempty"`
	Agent     string      `json:"agent"`       // version
	Failed    time.Time   `json:"failed"`      // the first sign of the failure: offsets count from here
	Begun     time.Time   `json:"begun"`       // when the first item was asked for
	Sealed    time.Time   `json:"sealed"`      //
	Clock     Clock       `json:"clock"`       //
	MaxBytes  int64       `json:"bound_bytes"` // of the whole bundle
	Files     []Record    `json:"files"`
	Missing   []Record    `json:"missing"` // asked for, and not there
	Notes     []string    `json:"notes,omitempty"`
}

// A Record is one file of the bundle, or one that is missing.
type Record struct {
	File     string        `json:"file,omitempty"`  // in the bundle; empty: missing
	Asked    string        `json:"asked,omitempty"` // the name asked for, quoted, where it could not be had
	Stage    string        `json:"stage,omitempty"` // of a missing one: before, action, after
	Shows    string        `json:"shows,omitempty"`
	Size     int64         `json:"size"`
	Cut      string        `json:"cut,omitempty"`    // "cut at 256 KiB of 3 MiB: the last part is kept"
	Source   string        `json:"source,omitempty"` // the file it was read from
	Modified time.Time     `json:"modified,omitzero"`
	Command  []string      `json:"command,omitempty"`
	Exit     *int          `json:"exit,omitempty"`
	Signal   string        `json:"signal,omitempty"`
	Started  time.Time     `json:"started,omitzero"` // by the wall clock
	Offset   health.Millis `json:"offset_ms"`        // its start, after the failure, by the monotonic clock
	Took     health.Millis `json:"took_ms,omitzero"`
	Deadline health.Millis `json:"deadline_ms,omitzero"`
	Redacted int           `json:"redacted,omitempty"` // secrets taken out
	Note     string        `json:"note,omitempty"`     // incomplete, or taken after the action had begun
	Missing  string        `json:"missing,omitempty"`  // why it is not there
}

// Clock is how far the host's wall clock could be trusted.
type Clock struct {
	Zone         string        `json:"zone"`
	UTCOffset    string        `json:"utc_offset"`
	Synchronised bool          `json:"synchronised"`           // the kernel's word: an NTP client steers it
	MaxError     health.Millis `json:"max_error_ms,omitempty"` // the kernel's bound
	Uptime       health.Millis `json:"uptime_ms"`              // of the host, suspension included
}

// clockNow asks the kernel about its clock; it changes nothing.
func clockNow(now time.Time) Clock {
	zone, _ := now.Zone()
	c := Clock{Zone: zone, UTCOffset: now.Format("-07:00")}
	var t unix.Timex // Modes is 0: read only
	if state, err := unix.Adjtimex(&t); err == nil {
		c.Synchronised = state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
		c.MaxError = health.ToMillis(time.Duration(t.Maxerror) * time.Microsecond)
	}
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) == nil {
		c.Uptime = health.ToMillis(time.Duration(ts.Nano()))
	}
	return c
}

// kernel is the running kernel, as uname gives it.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]) + " " +
		unix.ByteSliceToString(u.Machine[:])
}

func (m Manifest) render() ([]byte, error) {
	out, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render the manifest: %w", err)
	}
	return append(out, '\n'), nil
}
