package web

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/store"
)

// A Story is one incident with everything that is known of it.
type Story struct {
	Incident health.Incident `json:"incident"`
	Timeline []Line          `json:"timeline"`
	Bundles  []Bundle        `json:"bundles"`
}

// A Line is one note of a timeline.
type Line struct {
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`
	Text string    `json:"text"`
}

// A Bundle is one sealed part of the evidence.
type Bundle struct {
	Incident string    `json:"incident"`
	Part     int       `json:"part"`
	Path     string    `json:"path"`
	SHA256   string    `json:"sha256"`
	Size     int64     `json:"size"`
	Sealed   time.Time `json:"sealed"`
}

// An Alert is one row of the outbox.
type Alert struct {
	ID       int64     `json:"id"`
	Channel  string    `json:"channel"`
	Incident string    `json:"incident,omitempty"`
	Kind     string    `json:"kind"`
	Summary  string    `json:"summary"`
	State    string    `json:"state"` // pending, dead, sent
	Tries    int       `json:"tries"`
	Queued   time.Time `json:"queued"`
	Due      time.Time `json:"due"`
	Sent     time.Time `json:"sent,omitzero"`
	Error    string    `json:"error,omitempty"`
	Receipt  string    `json:"receipt,omitempty"`
	Key      string    `json:"key"`
}

// Records are what is kept of the past, for reading. The running agent answers from them by its control socket; without one
// a command reads them itself. They are safe for concurrent use.
type Records struct {
	Store    *store.Store // nil: only the bundles can be read
	Evidence string       // the folder of the bundles
}

// Incidents gives those that are wanted, newest first.
func (r Records) Incidents(ctx context.Context, f store.Filter) ([]health.Incident, error) {
	return r.Store.Incidents(ctx, f)
}

// Journal gives what is recorded from the latest beginning at or before since.
func (r Records) Journal(ctx context.Context, since time.Time) ([]store.Run, error) {
	return r.Store.Journal(ctx, since)
}

// Story gives the one incident whose id begins so.
func (r Records) Story(ctx context.Context, begins string) (Story, error) {
	id, err := r.fullID(ctx, begins)
	if err != nil {
		return Story{}, err
	}
	in, notes, err := r.Store.Incident(ctx, id)
	if err != nil {
		return Story{}, err
	}
	kept, err := r.Store.Bundles(ctx, id)
	if err != nil {
		return Story{}, err
	}
	st := Story{Incident: in, Timeline: []Line{}, Bundles: []Bundle{}}
	for _, n := range notes {
		st.Timeline = append(st.Timeline, Line{n.At, n.Kind, n.Text})
	}
	for _, b := range kept {
		st.Bundles = append(st.Bundles, Bundle{b.Incident, b.Part, b.Path, b.SHA256, b.Size, b.Sealed})
	}
	return st, nil
}

func (r Records) fullID(ctx context.Context, begins string) (string, error) {
	all, err := r.Store.Incidents(ctx, store.Filter{})
	if err != nil {
		return "", err
	}
	var found []string
	for _, in := range all {
		if in.ID == begins {
			return in.ID, nil
		}
		if strings.HasPrefix(in.ID, begins) {
			found = append(found, in.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", &Refusal{Text: fmt.Sprintf("no incident is called %q; 'atalaya incidents' lists them", begins), Missing: true}
	case 1:
		return found[0], nil
	}
	return "", &Refusal{Text: fmt.Sprintf("%q begins %d incidents: %s", begins, len(found), strings.Join(found[:min(len(found), 5)], ", "))}
}

// Outbox gives the alerts that are not delivered, oldest first; all gives the delivered ones, too.
func (r Records) Outbox(ctx context.Context, all bool) ([]Alert, error) {
	rows, err := r.Store.Outbox(ctx, all)
	if err != nil {
		return nil, err
	}
	out := []Alert{}
	for _, d := range rows {
		a := Alert{ID: d.ID, Channel: d.Channel, Incident: d.Alert.Incident, Kind: string(d.Alert.Kind), Summary: d.Alert.Summary, State: "pending",
			Tries: d.Tries, Queued: d.Queued, Due: d.Due, Sent: d.Sent, Error: d.LastErr, Receipt: d.Receipt, Key: d.Key}
		if d.Dead {
			a.State = "dead"
		}
		if !d.Sent.IsZero() {
			a.State = "sent"
		}
		out = append(out, a)
	}
	return out, nil
}

// Bundles gives those whose incident begins so, by incident and part. Their digests are not computed.
func (r Records) Bundles(_ context.Context, begins string) ([]evidence.Sealed, error) {
	all, err := evidence.List(r.Evidence)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w: be root", err)
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var out []evidence.Sealed
	for _, b := range all {
		if strings.HasPrefix(b.Incident, begins) {
			out = append(out, b)
		}
	}
	return out, nil
}

// Bundle gives the content of the bundle whose file is called so. What is not in the list is not read.
func (r Records) Bundle(ctx context.Context, file string) ([]byte, error) {
	all, err := r.Bundles(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if filepath.Base(b.Path) == file {
			return os.ReadFile(b.Path)
		}
	}
	return nil, &Refusal{Text: fmt.Sprintf("there is no bundle %q; 'atalaya evidence list' lists them", file), Missing: true}
}
