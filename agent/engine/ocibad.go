package engine

import (
	"regexp"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// What inspect fails for. Where the layers of one container are gone (a disk that lost them, a prune that was too eager),
// docker and podman still list it, but inspect fails as a whole: podman then prints nothing of the others either. So they
// are asked one by one, and what fails alone, by an error about itself, is broken. As long as its init lives it runs.

// ociBad is why inspect fails for one container, in the engine's words.
type ociBad string

func (b ociBad) Error() string { return string(b) }

// ociIDsRE finds the ids in what an engine says.
var ociIDsRE = regexp.MustCompile(`[0-9a-f]{64}`)

// saysBad gives the words about the one container that was asked about: podman names it, docker's daemon answers at all.
func (o *oci) saysBad(t hostexec.Transcript, ids []string) ociBad {
	if len(ids) != 1 || t.Exit <= 0 || t.TimedOut {
		return ""
	}
	for line := range strings.Lines(string(t.Stderr)) {
		about := strings.HasPrefix(line, "Error response from daemon: ")
		if o.name == "podman" {
			about = strings.HasPrefix(line, "Error: ") && ociIDsRE.FindString(line) == ids[0]
		}
		if about {
			return ociBad(ociCause(t.Stderr, tidy(line)))
		}
	}
	return ""
}

// broken is a sighting of what inspect fails for. The caller holds mu.
func (o *oci) broken(id string, e *ociEntry, now time.Time) health.Sighting {
	s := health.Sighting{
		Ref: o.ref(id), Name: strings.TrimPrefix(tidy(string(e.in.Name)), "/"), Mark: string(e.in.Created), State: health.Broken,
		Detail: o.name + " cannot read it: " + e.bad, Autostart: e.in.autostart(), Config: e.in.Config, At: now,
	}
	if s.Name == "" {
		s.Name = tidy(e.row.name)
	}
	if s.Name == "" {
		s.Name = id[:12]
	}
	return s
}
