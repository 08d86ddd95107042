package engine

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"atalaya/agent/health"
)

// What a person types to stop, kill or restart a container is known as far as it is what the agent itself would type: the
// command lines of the configuration, with any name and any limit filled in.

// customEnds are the verbs that end a container.
func customEnds() []health.Verb {
	return []health.Verb{health.VerbStop, health.VerbKill, health.VerbRestart}
}

// meaning compares a command line with the templates. A tool that is a script shows its interpreter first.
func (c *custom) meaning(argv []string) (string, health.Verb, bool) {
	for _, v := range customEnds() {
		line := c.lines[v]
		id, ok := line.match(argv)
		if !ok && len(argv) > 1 {
			id, ok = line.match(argv[1:])
		}
		if ok {
			return c.idOf(id), v, true
		}
	}
	return "", "", false
}

// idOf gives the id of what the tool was told by name or by id.
func (c *custom) idOf(word string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, name := range c.names {
		if name == word {
			return id
		}
	}
	return word
}

// match reads the container back from a command line that the template could have made.
func (t template) match(argv []string) (id string, ok bool) {
	if len(t) == 0 || len(argv) != len(t) || filepath.Base(argv[0]) != filepath.Base(t[0].text.Root.String()) {
		return "", false
	}
	for i, e := range t[1:] {
		said, fits := e.match(argv[i+1])
		if !fits || said != "" && id != "" && said != id {
			return "", false
		}
		id = cmp.Or(id, said)
	}
	return id, id != "" && checkID(id) == nil
}

// match reads one argument back: text as it stands, the limit as whatever it is, and the container, which it gives.
func (e element) match(arg string) (id string, ok bool) {
	if len(e.uses) == 0 {
		return "", arg == e.literal()
	}
	before, rest, _ := strings.Cut(e.text.Root.String(), "{{")
	_, after, _ := strings.Cut(rest, "}}")
	said, ok1 := strings.CutPrefix(arg, before)
	said, ok2 := strings.CutSuffix(said, after)
	if !ok1 || !ok2 || said == "" || len(e.uses) > 1 {
		return "", false
	}
	if e.uses[0] == "Limit" {
		return "", true
	}
	return said, true
}

func (e element) literal() string { return e.text.Root.String() }

// customFiles are where the tools of the templates lie.
func customFiles(lines map[health.Verb]template) []string {
	var files []string
	for _, v := range customEnds() {
		if lines[v] == nil {
			continue
		}
		tool := lines[v][0].literal()
		if filepath.IsAbs(tool) {
			files = append(files, tool)
			continue
		}
		for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
			files = append(files, filepath.Join(dir, tool))
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}
