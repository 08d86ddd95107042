package evidence

import (
	"archive/zip"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// sealedFiles is a small real bundle, unpacked: names in their order, and contents.
func sealedFiles(t testing.TB) (s Sealed, names []string, files map[string][]byte) {
	t.Helper()
	r := newRecorder(t)
	q := request(Item{Name: "log.log", Data: []byte(strings.Repeat("a line of a log\n", 20))}, Item{Name: "one.txt", Data: []byte("1")})
	q.Failed = time.Date(2026, 11, 24, 4, 12, 9, 0, time.UTC)
	s, _ = seal(t, r.Begin(q), story(q.Failed))
	z, err := zip.OpenReader(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = z.Close() }()
	files = map[string][]byte{}
	for _, f := range z.File {
		names = append(names, f.Name)
		files[f.Name] = content(t, s.Path, f.Name)
	}
	return s, names, files
}

// repack makes a sound archive of changed contents, as somebody would who wants to hide the change.
func repack(t interface{ Fatal(...any) }, path string, names []string, files map[string][]byte) {
	p, err := newPacker(1)
	if err != nil {
		t.Fatal(err)
	}
	var members []*member
	for _, n := range names {
		m := &member{rec: Record{File: n}, data: files[n]}
		if err := m.pack(p); err != nil {
			t.Fatal(err)
		}
		members = append(members, m)
	}
	raw, err := writeZip(members, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// altered verifies and gives the problems; without one the test fails.
func altered(t interface{ Fatalf(string, ...any) }, path string) string {
	v, err := Verify(path)
	var a *Altered
	if !errors.As(err, &a) || len(v.Problems) == 0 {
		t.Fatalf("it verifies: %+v, %v", v, err)
	}
	return a.Error()
}

// Whichever byte of whichever file is changed to whatever, in an archive that is otherwise sound, Verify finds it and
// names the file, or the sums if it was those.
func TestEveryChangedByteIsFound(t *testing.T) {
	t.Parallel()
	_, names, files := sealedFiles(t)
	path := filepath.Join(t.TempDir(), "x-p1.zip")
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "file")
		changed := map[string][]byte{}
		for n, data := range files {
			changed[n] = bytes.Clone(data)
		}
		at := rapid.IntRange(0, len(files[name])-1).Draw(t, "at")
		changed[name][at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		repack(t, path, names, changed)
		if got := altered(t, path); name != SumsName && !strings.Contains(got, `"`+name+`" was changed`) {
			t.Fatalf("byte %d of %q: %s", at, name, got)
		}
	})
}

// The same without chance: every byte of the sums and of the manifest, each with its lowest and its case bit flipped.
func TestEveryByteOfTheSums(t *testing.T) {
	t.Parallel()
	_, names, files := sealedFiles(t)
	path := filepath.Join(t.TempDir(), "x-p1.zip")
	for at := range files[SumsName] {
		for _, bit := range []byte{1, 0x20} {
			changed := map[string][]byte{}
			for n, data := range files {
				changed[n] = data
			}
			changed[SumsName] = bytes.Clone(files[SumsName])
			changed[SumsName][at] ^= bit
			repack(t, path, names, changed)
			altered(t, path)
		}
	}
}

// A byte of the archive itself (every third, for the time it takes): found, or it changed no file and stands where the format has no meaning for us; the
// digest of the whole, which is in the alert, differs always.
func TestEveryByteOfTheArchive(t *testing.T) {
	t.Parallel()
	s, names, files := sealedFiles(t)
	raw, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x-p1.zip")
	silent := 0
	for at := 0; at < len(raw); at += 3 {
		bad := bytes.Clone(raw)
		bad[at] ^= 1 << (at % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := Verify(path)
		if v.SHA256 == s.SHA256 {
			t.Fatalf("byte %d: the digest is the same", at)
		}
		if err != nil {
			continue
		}
		silent++
		for _, n := range names {
			if !bytes.Equal(content(t, path, n), files[n]) {
				t.Fatalf("byte %d: %q is changed, and it verifies", at, n)
			}
		}
	}
	t.Logf("%d of %d bytes mean nothing to the content (times, versions, modes)", silent, len(raw)/3)
}

func TestVerifySaysExactlyWhatDiffers(t *testing.T) {
	t.Parallel()
	s, names, files := sealedFiles(t)
	raw, err := os.ReadFile(s.Path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := Verify(s.Path)
	if err != nil || v.SHA256 != s.SHA256 || v.Incident != s.Incident || v.Part != 1 || v.Files != len(names) || v.Size != s.Size {
		t.Errorf("intact: %+v, %v", v, err)
	}
	path := filepath.Join(t.TempDir(), "x-p1.zip")
	tampered := func(change func(names *[]string, files map[string][]byte)) string {
		n, f := append([]string{}, names...), map[string][]byte{}
		for name, data := range files {
			f[name] = data
		}
		change(&n, f)
		repack(t, path, n, f)
		return altered(t, path)
	}
	spoiled := func(bad []byte) string {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		return altered(t, path)
	}
	for what, c := range map[string]struct{ got, want string }{
		"missing": {tampered(func(n *[]string, _ map[string][]byte) { *n = (*n)[:len(*n)-1] }), `"before/one.txt" is missing`},
		"added": {tampered(func(n *[]string, f map[string][]byte) {
			*n = append(*n, "extra.txt")
			f["extra.txt"] = []byte("x")
		}), `"extra.txt" was added: SHA256SUMS does not name it`},
		"twice": {tampered(func(n *[]string, _ map[string][]byte) { *n = append(*n, "before/one.txt") }), `"before/one.txt" stands in the archive twice`},
		"no sums": {tampered(func(n *[]string, _ map[string][]byte) {
			*n = append(append([]string{}, (*n)[:2]...), (*n)[3:]...)
		}), `"SHA256SUMS" is missing or unreadable`},
		"climbing name": {tampered(func(n *[]string, f map[string][]byte) {
			*n = append(*n, "../x")
			f["../x"] = nil
		}), `"../x" was added`},
		"cut off": {spoiled(raw[:len(raw)-40]), "the archive's directory cannot be read"},
		"empty":   {spoiled(nil), "the archive's directory cannot be read"},
		"text":    {spoiled([]byte("PK? no.")), "the archive's directory cannot be read"},
		"after":   {spoiled(append(bytes.Clone(raw), "more"...)), "the archive"},
		"before":  {spoiled(append([]byte("#!/bin/sh\n"), raw...)), "the archive"},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("%s: %s\nwant %q", what, c.got, c.want)
		}
	}
	if _, err := Verify(filepath.Join(t.TempDir(), "none.zip")); err == nil || errors.As(err, new(*Altered)) {
		t.Errorf("no file: %v", err)
	}
}

func TestShowAndList(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	evil := Item{Name: "console.log", Data: []byte("ok\tcolumn\r\n\x1b]0;owned\x07\x1b[2J\x9b31mred\u202e\n")}
	s, _ := capture(t, r, evil)
	s2, _ := capture(t, r)
	var out bytes.Buffer
	if err := Show(s.Path, &out, "before/console.log"); err != nil || out.String() != "ok\tcolumn\n?31mred\n" {
		t.Errorf("shown %q, %v", out.String(), err)
	}
	if got := content(t, s.Path, "before/console.log"); !bytes.Equal(got, evil.Data) {
		t.Errorf("the bytes were not kept: %q", got)
	}
	out.Reset()
	if err := Show(s.Path, &out, ""); err != nil || !strings.HasPrefix(out.String(), "INCIDENT REPORT") || strings.Contains(out.String(), "\r") {
		t.Errorf("report %.40q, %v", out.String(), err)
	}
	if err := Show(s.Path, &out, "nothing"); err == nil || !strings.Contains(err.Error(), "REPORT.txt, manifest.json") {
		t.Errorf("no such file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(r.o.Dir, "note.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := List(r.o.Dir)
	if err != nil || len(list) != 2 || list[0].Path != s.Path || list[1].Path != s2.Path || list[1].Part != 2 || list[0].Size != s.Size {
		t.Errorf("list %+v, %v", list, err)
	}
}
