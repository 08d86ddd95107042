package agent

import (
	"fmt"
	"time"

	"atalaya/agent/health"
)

// turned says for people what the change of phase is.
func (t *turn) turned(before, next health.State) string {
	switch next.Phase {
	case health.New:
		return "it is known now" + because(next.Why)
	case health.Up:
		if before.Phase == health.New {
			return "it runs, and is watched from here on"
		}
		return "it is well"
	case health.Checking:
		return next.Why + "; it is looked at once more before anything is done"
	case health.Waiting, health.Exhausted:
		if next.Queue {
			return next.Why + "; it follows as soon as there is room"
		}
		return fmt.Sprintf("%s; next attempt in %s", next.Why, next.Due.Sub(t.at).Round(100*time.Millisecond))
	case health.Settling:
		return next.Why
	case health.Alerted:
		return "it is left alone" + because(next.Why)
	case health.Deferred:
		return "hands off" + because(next.Why)
	case health.Off:
		return "it stays off" + because(next.Why)
	case health.Gone:
		return "it is forgotten" + because(next.Why)
	}
	return "" // starting and stopping are told with their action
}

// does says for people what an action is.
func does(act health.Action) string {
	switch {
	case act.Kind == health.DoStart:
		return fmt.Sprintf("attempt %d: it is down by a fresh look; it is started", act.Attempt)
	case act.Hard:
		return fmt.Sprintf("attempt %d: it did not stop when asked; it is killed", act.Attempt)
	}
	return fmt.Sprintf("attempt %d: it runs but is sick by a fresh look; it is asked to stop, and will be started", act.Attempt)
}

// summary is the one sentence that people read first: the symptom, then what became of it.
func summary(al health.Alert, s health.State, in *health.Incident) string {
	who := fmt.Sprintf("%s on %s", al.Container.Name, al.Host.FQDN)
	switch al.Kind {
	case health.AlertResolved:
		if s.RunState != health.Running {
			return fmt.Sprintf("%s: the incident is closed: %s", who, al.How)
		}
		return fmt.Sprintf("%s is well again: %s", who, al.How)
	case health.AlertNotice:
		return fmt.Sprintf("%s: %s", who, al.Reason)
	}
	if in.Cause != "" {
		who += fmt.Sprintf(" cannot be started: %s (%s)", in.Cause, al.Reason)
	} else {
		who += ": " + al.Reason
	}
	switch {
	case al.Kind == health.AlertEscalate:
		return fmt.Sprintf("%s. %s did not help", who, attempts(in.Attempts))
	case in.Attempts == 0:
		return who
	case s.Phase == health.Starting || s.Phase == health.Stopping:
		return who + fmt.Sprintf(". Attempt %d to bring it back is under way", in.Attempts)
	case s.RunState == health.Running:
		return who + fmt.Sprintf(". It runs again after %s", attempts(in.Attempts))
	}
	return who + fmt.Sprintf(". %s did not bring it back yet", attempts(in.Attempts))
}

func attempts(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}
