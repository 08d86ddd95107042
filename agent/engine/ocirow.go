package engine

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
)

// An ociRow is one container as the list tells it.
type ociRow struct {
	id     string
	name   string
	state  health.RunState
	health health.Outcome
	print  string        // changes when something did; what only tells the time is left out
	age    time.Duration // since its last change, as coarsely as the engine tells it; podman: 0, print has the moments
}

// ociAgeRE finds the durations of go-units' HumanDuration.
var ociAgeRE = regexp.MustCompile(`(Less than a second|About an? (?:minute|hour)|\d+ (?:second|minute|hour|day|week|month|year)s?)(?: ago)?`)

// ociStatus takes the sentence apart that people read: "Up 17 seconds (healthy)", "Exited (137) 2 seconds ago".
func ociStatus(status string) (words string, age time.Duration, check health.Outcome) {
	words = ociAgeRE.ReplaceAllStringFunc(status, func(d string) string {
		age = ociAge(strings.TrimSuffix(d, " ago"))
		return "…"
	})
	for _, c := range []string{"healthy", "unhealthy", "starting"} {
		if strings.HasSuffix(status, "("+c+")") || strings.HasSuffix(status, "(health: "+c+")") {
			check = ociHealth(c)
			words = words[:strings.LastIndexByte(words, '(')] // told by every list: no reason to ask
		}
	}
	return words, age, check
}

// ociAge is what was rounded at most: "About a minute" is told from 60 to 119 seconds.
func ociAge(text string) time.Duration {
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		switch {
		case strings.HasSuffix(text, "minute"):
			return time.Minute
		case strings.HasSuffix(text, "hour"):
			return time.Hour
		}
		return 0
	}
	const day = 24 * time.Hour
	for _, u := range []struct {
		name string
		is   time.Duration
	}{{"second", time.Second}, {"minute", time.Minute}, {"hour", time.Hour}, {"day", day}, {"week", 7 * day}, {"month", 30 * day}, {"year", 365 * day}} {
		if strings.HasPrefix(unit, u.name) {
			return time.Duration(min(n, 200)) * u.is
		}
	}
	return 0
}

// makeOCIRow is what both engines' rows come to. A word for the state that is new is told once, and is no state.
func makeOCIRow(id, name, state, status string, rest []string, n *notes) (ociRow, error) {
	if err := checkOCIID(id); err != nil {
		return ociRow{}, err
	}
	if state == "" {
		return ociRow{}, fmt.Errorf("container %.12s has no state", id)
	}
	s, known := ociRunState(state)
	if !known {
		n.add("state %.40q of container %.12s is new to this version: taken as unknown", state, id)
	}
	words, age, check := ociStatus(status)
	if s != health.Running {
		check = ""
	}
	return ociRow{id: id, name: name, state: s, health: check, age: age, print: fmt.Sprintf("%q %q %q %q", name, state, words, rest)}, nil
}
