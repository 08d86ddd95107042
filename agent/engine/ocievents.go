package engine

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// An ociEvent is one line of the engine's stream of events.
type ociEvent struct {
	id, action, signal string
	at                 time.Time
}

// parseDockerEvent reads a line of docker events --format '{{json .}}'.
func parseDockerEvent(line []byte) (ociEvent, bool) {
	var v struct {
		Type, Action looseString
		Actor        struct {
			ID         looseString
			Attributes struct {
				Signal looseString `json:"signal"`
			}
		}
		Time     looseInt `json:"time"`
		TimeNano looseInt `json:"timeNano"`
	}
	if json.Unmarshal(line, &v) != nil || v.Type != "container" || checkOCIID(string(v.Actor.ID)) != nil {
		return ociEvent{}, false
	}
	action, _, _ := strings.Cut(string(v.Action), ":") // "health_status: healthy"
	at := time.Unix(int64(v.Time), 0)
	if v.TimeNano != 0 {
		at = time.Unix(0, int64(v.TimeNano))
	}
	return ociEvent{id: string(v.Actor.ID), action: action, signal: string(v.Actor.Attributes.Signal), at: at}, true
}

// parsePodmanEvent reads a line of podman events --format json.
func parsePodmanEvent(line []byte) (ociEvent, bool) {
	var v struct {
		ID, Status, Time, Type looseString
	}
	if json.Unmarshal(line, &v) != nil || v.Type != "container" || checkOCIID(string(v.ID)) != nil {
		return ociEvent{}, false
	}
	return ociEvent{id: string(v.ID), action: string(v.Status), at: ociTime(string(v.Time))}, true
}

// ociTells are the actions worth a look. Each run of a health check brings three more: exec_create, exec_start, exec_die.
func ociTells(action string) (interesting, anew bool) {
	switch action {
	case "create":
		return true, true // of an id that nobody knows yet
	case "start", "die", "died", "stop", "kill", "oom", "pause", "unpause", "restart", "rename", "update", "destroy", "remove", "health_status", "cleanup":
		return true, false
	}
	return false, false
}

// follow follows the stream. What it told is forgotten when it ends: what is then missed would make it mislead.
func (o *oci) follow(ctx context.Context, changed func(id string)) error {
	defer o.forget()
	return o.run.Stream(ctx, hostexec.Command{Argv: o.argv(o.name, o.events...), Env: o.spec.Env}, func(line []byte) error {
		v, ok := o.event(line)
		if !ok {
			return nil
		}
		tells, anew := ociTells(v.action)
		if !tells {
			return nil
		}
		o.hear(v)
		if anew {
			v.id = ""
		}
		changed(v.id)
		return nil
	})
}

// hear remembers an event, and has the container asked about anew.
func (o *oci) hear(v ociEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.known[v.id]
	if e == nil {
		return // the next list will ask about it anyway
	}
	if v.action != "health_status" { // told by the list
		e.print = ""
	}
	o.tell(v)
}

// tell remembers what bears on why a container ended. The caller holds mu.
func (o *oci) tell(v ociEvent) {
	t := o.told[v.id]
	if t == nil {
		t = &ociTold{}
		o.told[v.id] = t
	}
	t.take(v)
}

// forget what the events told: the stream has ended, and with it, perhaps, the daemon.
func (o *oci) forget() {
	o.mu.Lock()
	o.told = map[string]*ociTold{}
	o.mu.Unlock()
	o.lost(time.Now())
}

// learnPast asks podman's log of events about all that ended since it was last asked, in one process. Docker has a record
// that says more, and its daemon keeps no more than its last 256 events.
func (o *oci) learnPast(ctx context.Context) {
	since, ids := o.unexplained(time.Now())
	if len(ids) == 0 {
		return
	}
	argv := o.argv(o.name, "events", "--stream=false", "--format=json", "--filter=type=container", "--since="+since.UTC().Format(time.RFC3339))
	t, err := o.ask(ctx, argv)
	if err != nil {
		o.notes.add("who stopped a container is not known: %v", err)
	}
	log := map[string]*ociTold{}
	for line := range strings.Lines(string(t.Stdout)) {
		if v, ok := o.event([]byte(line)); ok && ids[v.id] {
			if log[v.id] == nil {
				log[v.id] = &ociTold{}
			}
			log[v.id].take(v)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, told := range log {
		if was := o.told[id]; was != nil {
			told.asked = was.asked
		}
		o.told[id] = told
	}
}

// unexplained are the containers that ended lately and about whose end nothing was asked yet.
func (o *oci) unexplained(now time.Time) (since time.Time, ids map[string]bool) {
	if o.flag {
		return now, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	since, ids = now, map[string]bool{}
	for id, e := range o.known {
		ended := e.in.ended()
		if e.in.state() != health.Stopped || bool(e.in.StoppedByUser) || ended.IsZero() || now.Sub(ended) > ociRecent || e.ours {
			continue
		}
		t := o.told[id]
		if t == nil {
			t = &ociTold{}
			o.told[id] = t
		}
		if order, _ := t.purpose(e.in.began(), ended); order != "" || t.asked.Equal(ended) {
			continue
		}
		if now.Sub(ended) > ociKillWorks {
			t.asked = ended // the log has all that it will ever have
		}
		ids[id] = true
		if from := ended.Add(-2 * ociKillWorks); from.Before(since) {
			since = from
		}
	}
	return since, ids
}

// bootRE finds when this kernel was booted, in seconds of the wall clock (proc_stat(5)).
var bootRE = regexp.MustCompile(`(?m)^btime (\d+)$`)

// readBoot gives the zero time where it cannot be read.
func readBoot(path string) time.Time {
	b, err := readBounded(path, 4<<20)
	if err != nil {
		return time.Time{}
	}
	m := bootRE.FindSubmatch(b)
	if m == nil {
		return time.Time{}
	}
	sec, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(sec, 0)
}
