package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/evidence"
	"atalaya/agent/health"
)

// sealed takes what the sources name as the agent does, and gives what came of each by its name: what it shows, or why it is
// not there.
func sealed(t *testing.T, sources []engine.Source) (shown, missing map[string]string) {
	t.Helper()
	r, err := evidence.New(evidence.Options{Dir: t.TempDir(), Runner: runnerOf(t), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	q := evidence.Request{Incident: "20261125-000000-web1", Ref: health.Ref{Engine: "lxc", ID: "web1"}, Reason: "died"}
	for _, s := range sources {
		i := evidence.Item{Name: s.Name, Shows: s.Shows, Argv: s.Argv, Path: s.Path, Root: s.Root, Volatile: s.Volatile, Max: s.Tail, Image: s.Image}
		if s.Tail > 0 {
			i.Cut = evidence.KeepTail
		}
		if s.Absent != "" {
			i.Func = func(context.Context) ([]byte, error) { return nil, errors.New(s.Absent) }
		}
		q.Items = append(q.Items, i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := r.Begin(q).Seal(ctx, evidence.Report{})
	if err != nil {
		t.Fatal(err)
	}
	show := func(name string) string {
		var b bytes.Buffer
		if err := evidence.Show(got.Path, &b, name); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	var m evidence.Manifest
	if err := json.Unmarshal([]byte(show("manifest.json")), &m); err != nil {
		t.Fatal(err)
	}
	shown, missing = map[string]string{}, map[string]string{}
	for _, f := range m.Files {
		for _, s := range sources { // a bundle's files have a suffix that Windows knows
			if name := strings.TrimPrefix(f.File, "before/"); name == s.Name || name == s.Name+".txt" {
				shown[s.Name] = show(f.File)
			}
		}
	}
	for _, f := range m.Missing {
		missing[f.Asked] = f.Missing
	}
	return shown, missing
}
