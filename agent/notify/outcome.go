package notify

import (
	"context"
	"errors"
	"strings"
	"time"

	"atalaya/agent/store"
)

// A kind is what came of a try.
type kind string

const (
	sent      kind = "sent"
	failed    kind = "failed"    // tried again
	later     kind = "later"     // tried again when the receiver said
	refused   kind = "refused"   // dead letter
	gaveUp    kind = "gave_up"   // dead letter
	cancelled kind = "cancelled" // we are stopping: as if it had not been tried
)

// An outcome is what came of a try, in the words that the store keeps.
type outcome struct {
	kind  kind
	at    time.Time // sent or dead: when; else when to try again
	words string    // receipt or cause
	tried time.Time // when the store did not take it; zero: it was not asked yet
}

const maxCause = 1000 // bytes of an error that are kept

// judge tells what to do after a try that failed.
func (d *Dispatcher) judge(x store.Delivery, now time.Time, err error, wait time.Duration) outcome {
	words := err.Error()
	if len(words) > maxCause {
		words = strings.ToValidUTF8(words[:maxCause], "") + "…"
	}
	var no Refused
	var notNow Later
	switch {
	case errors.As(err, &no):
		return outcome{kind: refused, at: now, words: words}
	case now.Sub(x.Since) >= d.o.GiveUp:
		return outcome{kind: gaveUp, at: now, words: words}
	case errors.As(err, &notNow) && notNow.After > 0:
		return outcome{kind: later, at: now.Add(notNow.After), words: words}
	default:
		return outcome{kind: failed, at: now.Add(wait), words: words}
	}
}

// record tells the store and the log. A row that a person dropped meanwhile is as good as recorded.
func (d *Dispatcher) record(ctx context.Context, x store.Delivery, o outcome) bool {
	if o.kind == cancelled {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordIn)
	defer cancel()
	var err error
	switch o.kind {
	case sent:
		err = d.o.Store.Sent(ctx, x.ID, o.at, o.words)
	case refused, gaveUp:
		err = d.o.Store.Dead(ctx, x.ID, o.at, o.words)
	default:
		err = d.o.Store.Retry(ctx, x.ID, o.at, o.words)
	}
	log := d.log.With("channel", x.Channel, "incident", x.Alert.Incident, "key", x.Key, "tries", x.Tries+1)
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		log.Error("notify: the outcome of a delivery could not be recorded yet", "outcome", o.kind, "err", err)
		return false
	case o.kind == sent:
		log.Info("notify: delivered", "kind", x.Alert.Kind, "receipt", o.words)
	case o.kind == refused, o.kind == gaveUp:
		log.Error("notify: an alert became a dead letter: it can be sent again", "why", o.kind, "delivery", x.ID, "err", o.words)
	default:
		log.Warn("notify: a delivery failed and is tried again", "due", o.at, "err", o.words)
	}
	return true
}
