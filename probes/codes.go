package probes

import (
	"fmt"
	"strconv"
	"strings"
)

// codes is a set of numbers, written as "200-299,401": HTTP statuses or exit codes.
type codes struct {
	text   string
	ranges [][2]int
}

// maxRanges bounds a set.
const maxRanges = 64

// parseCodes reads a set whose numbers are between low and high.
func parseCodes(text string, low, high int) (codes, error) {
	set := codes{text: text}
	parts := strings.Split(text, ",")
	if len(parts) > maxRanges {
		return codes{}, fmt.Errorf("%d ranges, at most %d are allowed", len(parts), maxRanges)
	}
	for _, part := range parts {
		from, to, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := parseCode(from, low, high)
		if err != nil {
			return codes{}, fmt.Errorf("%q: %w; write it like %q", text, err, "200-299,401")
		}
		last := first
		if isRange {
			if last, err = parseCode(to, low, high); err != nil {
				return codes{}, fmt.Errorf("%q: %w; write it like %q", text, err, "200-299,401")
			}
		}
		if last < first {
			return codes{}, fmt.Errorf("%q: the range %d-%d ends before it begins", text, first, last)
		}
		set.ranges = append(set.ranges, [2]int{first, last})
	}
	return set, nil
}

func parseCode(text string, low, high int) (int, error) {
	text = strings.TrimSpace(text)
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' { // Atoi takes signs
			return 0, fmt.Errorf("%q is not a number", text)
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	if n < low || n > high {
		return 0, fmt.Errorf("%d is not between %d and %d", n, low, high)
	}
	return n, nil
}

// has says that n is in the set.
func (c codes) has(n int) bool {
	for _, r := range c.ranges {
		if n >= r[0] && n <= r[1] {
			return true
		}
	}
	return false
}

// String gives the set as it was written.
func (c codes) String() string { return c.text }
