package evidence

import (
	"archive/zip"
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// newRecorder makes a recorder over real commands, in a folder of its own.
func newRecorder(t testing.TB, change ...func(*Options)) *Recorder {
	t.Helper()
	o := Options{Dir: t.TempDir(), Runner: hostexec.New(hostexec.Options{}), Version: "0.0-test"}
	for _, f := range change {
		f(&o)
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// request is a failed container's, with items.
func request(items ...Item) Request {
	return Request{
		Incident: "20261124-031209-web1", Ref: health.Ref{Engine: "lxc", ID: "web1"}, Name: "web1",
		Host: health.Host{FQDN: "node3.example.net", Site: "fra1"}, Reason: "died", Items: items,
	}
}

// capture takes items, seals, and gives what was sealed.
func capture(t testing.TB, r *Recorder, items ...Item) (Sealed, Manifest) {
	t.Helper()
	return seal(t, r.Begin(request(items...)), Report{})
}

func seal(t testing.TB, c *Capture, rep Report) (Sealed, Manifest) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := c.Seal(ctx, rep)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(s.Path); err != nil {
		t.Fatal(err)
	}
	var m Manifest
	if err := json.Unmarshal(content(t, s.Path, ManifestName), &m); err != nil {
		t.Fatal(err)
	}
	return s, m
}

// content is one file of a bundle, by the standard library's reader.
func content(t testing.TB, path, name string) []byte {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = z.Close() }()
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// missing gives why the item is not in the bundle; empty if it is.
func (m Manifest) missing(name string) string {
	for _, r := range m.Missing {
		if r.Asked == name {
			return r.Missing
		}
	}
	return ""
}

// record gives the record of a file.
func (m Manifest) record(t testing.TB, file string) Record {
	t.Helper()
	for _, r := range m.Files {
		if r.File == file {
			return r
		}
	}
	t.Fatalf("manifest has no %q: %+v; missing %+v", file, m.Files, m.Missing)
	return Record{}
}
