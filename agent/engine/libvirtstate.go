package engine

import (
	"strconv"

	"atalaya/agent/health"
)

// virtStates and virtReasons are libvirt's words by number (libvirt tools/virsh-domain-monitor.c at 00821484).
func virtStates() []string {
	return []string{"no state", "running", "idle", "paused", "in shutdown", "shut off", "crashed", "pmsuspended"}
}

func virtReasons() map[string][]string {
	return map[string][]string{
		"running": {"unknown", "booted", "migrated", "restored", "from snapshot", "unpaused", "migration canceled", "save canceled", "event wakeup", "crashed", "post-copy", "post-copy failed"},
		"paused": {"unknown", "user", "migrating", "saving", "dumping", "I/O error", "watchdog", "from snapshot", "shutting down", "creating snapshot", "crashed", "starting up",
			"post-copy", "post-copy failed", "api error"},
		"in shutdown": {"unknown", "user"},
		"shut off":    {"unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot", "daemon"},
		"crashed":     {"unknown", "panicked"},
	}
}

// virtNumbered gives the words of domstats' numbers; a number that this version does not know stays one.
func virtNumbered(n map[string]int) virtSaid {
	word := func(words []string, n int) string {
		if n >= 0 && n < len(words) {
			return words[n]
		}
		return strconv.Itoa(n)
	}
	state, ok := n["state"]
	if !ok {
		return virtSaid{}
	}
	said := virtSaid{state: word(virtStates(), state)}
	reason, ok := n["reason"]
	if words := virtReasons()[said.state]; ok && len(words) > 0 {
		said.reason = word(words, reason)
	} else {
		said.reason = "unknown"
	}
	return said
}

// A virtVerdict is what a state with its reason means.
type virtVerdict struct {
	state   health.RunState
	lock    string // an operation holds it
	purpose string // somebody wanted it off
	why     string // for people, beside libvirt's own words
}

// virtMeans is the table. A reason that is not in it means what its state means.
func virtMeans() map[string]map[string]virtVerdict {
	paused := func(lock string) virtVerdict { return virtVerdict{state: health.Busy, lock: lock} }
	return map[string]map[string]virtVerdict{
		"no state": {"": {state: health.Unknown}},
		"running": {
			"":                 {state: health.Running},
			"post-copy":        {state: health.Running, lock: "post-copy migration"},
			"post-copy failed": {state: health.Running, lock: "post-copy migration that failed"},
		},
		"idle": {"": {state: health.Running}},
		"paused": {
			"":                  {state: health.Paused},
			"migrating":         paused("migration"),
			"saving":            paused("save"),
			"dumping":           paused("dump"),
			"creating snapshot": paused("snapshot"),
			"shutting down":     {state: health.Busy},
			"starting up":       {state: health.Busy},
			"post-copy":         paused("post-copy migration"),
			"I/O error": {state: health.Broken, why: "its storage failed, and it waits for that to be mended: a restart would lose what it could not write; " +
				"mend the storage, then virsh resume"},
			"post-copy failed": {state: health.Broken, why: "its memory is left on another host: nothing may be ended here"},
			"crashed":          {state: health.Broken, why: "the guest panicked, and was told to be kept as it is"},
			"api error":        {state: health.Broken, why: "libvirt failed in the middle of an operation"},
			"watchdog":         {state: health.Broken, why: "its watchdog found the guest hung, and was told to pause it"},
		},
		"in shutdown": {"": {state: health.Busy}},
		"pmsuspended": {"": {state: health.Paused, why: "the guest suspended itself"}},
		"shut off": {
			"":              {state: health.Stopped},
			"destroyed":     {state: health.Stopped, purpose: "somebody had libvirt destroy it"},
			"migrated":      {state: health.Stopped, lock: "migrated to another host"},
			"saved":         {state: health.Stopped, lock: "saved"},
			"from snapshot": {state: health.Stopped, purpose: "somebody reverted it to a snapshot in which it was off"},
		},
		"crashed": {"": {state: health.Broken, why: "the guest panicked, and is kept as it is (on_crash=preserve)"}},
	}
}

// virtJudge tells what a state means. known is false for words that later versions may have.
func virtJudge(state, reason string) (v virtVerdict, known bool) {
	means, ok := virtMeans()[state]
	if !ok {
		return virtVerdict{state: health.Unknown}, false
	}
	if v, ok := means[reason]; ok {
		return v, true
	}
	for _, word := range virtReasons()[state] {
		known = known || word == reason
	}
	return means[""], known || state == "no state" || state == "idle" || state == "pmsuspended"
}
