package engine

import (
	"path/filepath"
	"regexp"
	"strings"

	"atalaya/agent/health"
)

// vzCommands says what a command of vzctl does to the life of a container; those that are not here end nothing. mount,
// umount, exec, enter, console and status prove nothing.
func vzCommands() map[string]health.Verb {
	return map[string]health.Verb{
		"stop": health.VerbStop, "restart": health.VerbRestart, "destroy": health.VerbRemove, "delete": health.VerbRemove,
		"chkpnt": health.VerbStop, "suspend": health.VerbStop, "pause": health.VerbStop, "unregister": health.VerbMove,
		"snapshot": health.VerbSnapshot, "snapshot-create": health.VerbSnapshot, "snapshot-delete": health.VerbSnapshot, "snapshot-switch": health.VerbSnapshot,
		"convert": health.VerbSnapshot, "reinstall": health.VerbRemove, "compact": health.VerbSnapshot, "quotainit": health.VerbSnapshot,
	}
}

// prlCommands are those of prlctl (OpenVZ/prlctl man/prlctl.8).
func prlCommands() map[string]health.Verb {
	return map[string]health.Verb{
		"stop": health.VerbStop, "restart": health.VerbRestart, "reset": health.VerbRestart, "suspend": health.VerbStop, "pause": health.VerbStop,
		"delete": health.VerbRemove, "destroy": health.VerbRemove, "unregister": health.VerbMove, "migrate": health.VerbMove, "move": health.VerbMove,
		"clone": health.VerbSnapshot, "backup": health.VerbSnapshot, "restore": health.VerbSnapshot, "snapshot": health.VerbSnapshot,
		"snapshot-switch": health.VerbSnapshot, "snapshot-delete": health.VerbSnapshot, "convert": health.VerbSnapshot, "reinstall": health.VerbRemove,
	}
}

// vzFiles are the executables whose runs mean something.
func vzFiles(tools ...string) []string {
	var files []string
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"} {
		for _, tool := range tools {
			files = append(files, filepath.Join(dir, tool))
		}
	}
	return files
}

// vzMeaning reads a command line of vzctl, prlctl, vzmigrate or vzdump. name gives the id of what a word names, "" for
// nothing that is known.
func vzMeaning(argv []string, name func(string) string) (string, health.Verb, bool) {
	words := plainWords(argv[1:])
	if len(words) == 0 {
		return "", "", false
	}
	target, verb := "", health.Verb("")
	switch filepath.Base(argv[0]) {
	case "vzctl":
		verb = vzCommands()[words[0]]
		target = wordAt(words, 1)
		if verb == health.VerbStop && has(argv, "--fast") {
			verb = health.VerbKill
		}
	case "prlctl":
		verb = prlCommands()[words[0]]
		target = wordAt(words, 1)
		if verb == health.VerbStop && (has(argv, "--kill") || has(argv, "--fast")) {
			verb = health.VerbKill
		}
	case "vzmigrate", "pmigrate": // vzmigrate [options] HOST CTID…
		verb, target = health.VerbMove, words[len(words)-1]
	case "vzdump": // suspends or stops what it saves
		verb, target = health.VerbSnapshot, firstNumber(words)
	}
	if verb == "" || target == "" {
		return "", "", false
	}
	id := name(strings.TrimSuffix(target, ":"))
	return id, verb, id != ""
}

// firstNumber gives the first word that is a number: vzdump takes containers by number, before and after its options.
func firstNumber(words []string) string {
	for _, w := range words {
		if strings.Trim(w, "0123456789") == "" {
			return w
		}
	}
	return ""
}

// plainWords are the words of a command line that are no options. Options of these tools that take a value stand behind the
// command and its container, where nobody looks.
func plainWords(argv []string) []string {
	var out []string
	for _, a := range argv {
		if !strings.HasPrefix(a, "-") {
			out = append(out, a)
		}
	}
	return out
}

func wordAt(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return ""
}

func has(argv []string, word string) bool {
	for _, a := range argv {
		if a == word {
			return true
		}
	}
	return false
}

var (
	vzNumberRE = regexp.MustCompile(`^[1-9][0-9]{0,9}$`)
	vzUUIDRE   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// quoteShell makes one word of each argument for the shell that vzctl hands its joined arguments to (FACTS §1: exec re-joins
// with blanks into bash -c).
func quoteShell(argv []string) string {
	quoted := make([]string, len(argv))
	for i, a := range argv {
		quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
