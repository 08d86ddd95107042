package engine

import (
	"fmt"
	"strings"
	"unicode"

	"atalaya/agent/hostexec"
)

// LXC writes two kinds of lines. To a log file:
//
//	lxc-start c3 20261123154505.970 ERROR    network - ../src/lxc/network.c:netdev_configure_server_veth:711 - No such …
//
// and to stderr, where only errors go:
//
//	lxc-start: c3: ../src/lxc/tools/lxc_start.c: main: 306 The container failed to start

// maxWords bounds what is quoted of a log.
const maxWords = 500

// cutLXCLog takes a line apart: the function of liblxc that speaks, and its words. Only errors count.
func cutLXCLog(line string) (where, words string, ok bool) {
	line = strings.TrimSuffix(line, "\n")
	if head, rest, found := strings.Cut(line, " - ../src/lxc/"); found {
		if !strings.Contains(head, " ERROR ") && !strings.Contains(head, " FATAL ") && !strings.Contains(head, " CRIT ") {
			return "", "", false
		}
		where, words, ok = strings.Cut(rest, " - ")
		return where, tidy(words), ok
	}
	_, rest, found := strings.Cut(line, ": ../src/lxc/")
	if !found {
		return "", "", false
	}
	file, rest, _ := strings.Cut(rest, ": ")
	function, rest, _ := strings.Cut(rest, ": ")
	number, words, ok := strings.Cut(rest, " ")
	return file + ":" + function + ":" + number, tidy(words), ok
}

// lxcCause gives the innermost words for a failure: the first error, unless it only says that something else went wrong
// and a later one says what. A failing start prints the same two lines whatever its cause; the cause is further in.
func lxcCause(log []byte) string {
	first := ""
	for line := range strings.Lines(string(log)) {
		where, words, ok := cutLXCLog(line)
		if !ok || words == "" {
			continue
		}
		if !lxcOuter(where, words) {
			return words
		}
		if first == "" {
			first = words
		}
	}
	return first
}

// lxcOuter tells the words that follow from a failure from those that cause it.
func lxcOuter(where, words string) bool {
	if strings.HasPrefix(where, "tools/") || strings.Contains(where, ":do_lxcapi_snapshot:") { // that one explains at length, as an error, what it is about to do
		return true
	}
	for _, s := range []string{
		"Received container state", "Failed to spawn container", "An error occurred in another process",
		"Failed to handle rootfs pinning", "Failed to send SIGKILL", "Failed to initialize container",
	} {
		if strings.Contains(words, s) {
			return true
		}
	}
	return false
}

// readLXCAnswer reads what lxc-start or lxc-stop answered. The exit code alone tells little: lxc-start on a running or a
// frozen container is rc 0, done nothing.
func readLXCAnswer(t hostexec.Transcript, log []byte) Answer {
	var a Answer
	said := string(t.Stderr) + string(log)
	a.Already = strings.Contains(said, "Container is already running")
	if err := t.Err(); err != nil {
		a.Err = err.Error()
		a.Cause = lxcCause(log)
		if a.Cause == "" {
			a.Cause = lxcCause(t.Stderr)
		}
	}
	return a
}

// readLXCStop adds the words that lxc-stop --nokill does not say: after its timeout it ends with 1, in silence.
func readLXCStop(t hostexec.Transcript, log []byte) Answer {
	a := readLXCAnswer(t, log)
	if t.Exit == 1 && a.Cause == "" {
		a.Cause = fmt.Sprintf("it did not end within the %s it was asked to", t.Took.Round(100_000_000))
	}
	return a
}

// tidy makes words fit to be shown: bounded, and without control characters.
func tidy(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.TrimSpace(s)
	if len(s) > maxWords {
		s = strings.ToValidUTF8(s[:maxWords], "") + "…"
	}
	return s
}
