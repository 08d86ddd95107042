package diagnose

import (
	"regexp"
	"strings"
)

// words are the lines in which the engine says what went wrong, the innermost first: the cause it named, its log, and
// what it printed.
func (f Facts) words() []string {
	if f.said != nil {
		return f.said
	}
	d := f.latest()
	return lines(d.Cause, f.Log, d.Err)
}

// words are those of one attempt, without its log.
func (a Attempt) words() []string { return lines(a.Cause, a.Err) }

// lines are the lines of texts that may name a cause.
func lines(texts ...string) []string {
	out := []string{}
	for _, text := range texts {
		for line := range strings.Lines(text) {
			line = wrapping.ReplaceAllString(strings.TrimSpace(line), "")
			if line != "" && !outer(line) {
				out = append(out, clipLine(line))
			}
		}
	}
	if len(out) > maxLines {
		out = append(out[:maxLines/2:maxLines/2], out[len(out)-maxLines/2:]...)
	}
	return out
}

// maxLines and maxLine bound what is looked through: a verdict is asked for while other containers wait. Causes stand at
// the beginning of what an engine says, and what follows from them at its end.
const (
	maxLines = 100
	maxLine  = 2000
)

func clipLine(line string) string {
	if len(line) > maxLine {
		return line[:maxLine]
	}
	return line
}

// wrapping is what stands before the words of whoever failed, in every engine's own manner.
var wrapping = regexp.MustCompile(`^(?:TASK ERROR: |[Ee]rror: |ERROR: |docker: |Error response from daemon: |internal error: )+`)

// outers are words that cover every cause, and so name none: the last line never blames. Of vzctl, also what it says on
// every run.
var outers = []string{
	"Received container state", "Failed to spawn container", "An error occurred in another process",
	"The container failed to start", "To get more details", "Additional information can be obtained",
	"Failed to receive the container state", "Failed to initialize container", "ABORTING instead of",
	"Failed to start domain", "Failed to destroy domain", "Failed to reset domain",
	"failed to start containers:", "Try `lxc info", "Try `incus info",
	"Container start failed", "Failed to start the C", "PRL_ERR_VZCTL_OPERATION_FAILED", "Starting the C", "Stopping the C",
	"Container was stopped", "Container is unmounted", "Container is mounted", "Container start in progress", "Starting container...",
	"Stopping container ...", "Killing container ...", "Restarting container",
	"assuming non-OpenVZ kernel", "WARNING: Running container unprivileged",
	"QEMU exited with code", "startup for container", "trying to acquire lock",
	"failed because the control process exited", "See \"systemctl status", "Failed with result", "Main process exited, code=exited",
}

// child is what vzctl says of each of its helpers that failed.
var child = regexp.MustCompile(`^Child \d+ exited with status \d+$`)

// outer says that a line names no cause.
func outer(line string) bool {
	if child.MatchString(line) {
		return true
	}
	for _, s := range outers {
		if strings.Contains(line, s) {
			return true
		}
	}
	return false
}
