package notify

import (
	"context"
	"fmt"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// A Message is one alert on its way to one channel.
type Message struct {
	Alert   health.Alert
	Key     string         // the idempotency key: the same at every try
	Tries   int            // that failed before this one
	Late    time.Duration  // how long after it was queued; zero when that is hardly worth a word
	Bundles []store.Bundle // the sealed evidence of the incident so far
}

// A Receipt is the receiver's word that it took a message.
type Receipt struct {
	Status string // "200 OK"
	Remote string // who said so
	At     time.Time
}

// A Channel sends messages to one receiver. Send is called from several goroutines at once, for different incidents; it
// honours ctx and returns a Refused, a Later, or any other error for a try that failed and may be repeated.
type Channel interface {
	Name() string // unique among the configured ones
	Kind() string // webhook, file
	Send(ctx context.Context, m Message) (Receipt, error)
}

// Refused says that the receiver will never take this message: it becomes a dead letter at once.
type Refused struct{ Err error }

// Error gives the reason.
func (e Refused) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e Refused) Unwrap() error { return e.Err }

// Later says that the receiver asked not to be tried again before After has passed.
type Later struct {
	Err   error
	After time.Duration
}

// Error gives the reason.
func (e Later) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e Later) Unwrap() error { return e.Err }

// A Spec is one configured channel: the part that belongs to its Kind is used.
type Spec struct {
	Kind    string // "webhook" or "file"
	Webhook WebhookSpec
	File    FileSpec
}

// New makes the channel of a spec.
func New(s Spec) (Channel, error) {
	switch s.Kind {
	case "webhook":
		return NewWebhook(s.Webhook)
	case "file":
		return NewFile(s.File)
	default:
		return nil, fmt.Errorf("make channel: unknown kind %q: it is one of webhook, file", s.Kind)
	}
}
