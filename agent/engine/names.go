package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// maxID is the longest id in bytes: that of a file name.
const maxID = 255

// checkID says why id cannot be the name of a container on a command line or in a path. A leading '-' is not such a
// reason: it depends on where the id stands.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("the name is empty")
	case len(id) > maxID:
		return fmt.Errorf("name %.40q…: %d bytes are more than %d", id, len(id), maxID)
	case !utf8.ValidString(id):
		return fmt.Errorf("name %q: not valid UTF-8", id)
	case id == "." || id == ".." || strings.ContainsRune(id, '/'):
		return fmt.Errorf("name %q: a path is not a name", id)
	case strings.ContainsFunc(id, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }):
		return fmt.Errorf("name %q: holds control characters", id)
	}
	return nil
}

// notes tells each thing once.
type notes struct {
	mu   sync.Mutex
	told map[string]bool
	new  []string
}

// maxNotes bounds what is remembered: names come from folders and tools that others write.
const maxNotes = 1000

// add tells something, unless it was told before.
func (n *notes) add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told[text] || len(n.told) >= maxNotes {
		return
	}
	if n.told == nil {
		n.told = make(map[string]bool)
	}
	n.told[text] = true
	n.new = append(n.new, text)
}

// take gives what was told since the last take.
func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.new
	n.new = nil
	return out
}
