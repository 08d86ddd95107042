package host

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// A schedule is a shutdown that somebody planned with shutdown(8), as logind notes it down.
type schedule struct {
	at   time.Time
	mode string // poweroff, reboot, halt, kexec; dry-… is a rehearsal
}

const scheduledFile = "run/systemd/shutdown/scheduled" // below the root

// real says that a shutdown is planned in earnest.
func (s schedule) real() bool { return !s.at.IsZero() && !strings.HasPrefix(s.mode, "dry-") }

// readSchedule gives the planned shutdown; the zero schedule when there is none.
func readSchedule(root string) schedule {
	data, err := os.ReadFile(root + scheduledFile)
	if err != nil {
		return schedule{} // not there: the usual case
	}
	return parseSchedule(string(data))
}

// parseSchedule reads lines of NAME=value, of which USEC (since 1970) and MODE count.
func parseSchedule(text string) schedule {
	var s schedule
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "USEC":
			if usec, err := strconv.ParseInt(value, 10, 64); err == nil && usec > 0 {
				s.at = time.UnixMicro(usec)
			}
		case "MODE":
			s.mode = value
		}
	}
	return s
}
