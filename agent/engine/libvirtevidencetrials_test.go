package engine_test

import (
	"archive/zip"
	"image/png"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/evidence"
	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/cmd/atalaya-lab/rig"
)

// What is kept of a VM: its screen above all.

// The picture of its screen is in the bundle as qemu made it, also from another host.
func virtKeepsOfVM(t *testing.T, r *rig.Libvirt) {
	rig.Require(t, "ssh", "/usr/sbin/sshd", "ssh-keygen")
	i, _ := libvirtOpen(t, r, 0)
	virtBooted(r)
	got, missing := virtBundle(t, i, "web1")
	if len(missing) > 0 {
		t.Errorf("not obtained: %q", missing)
	}
	for name, want := range map[string]string{"libvirt-state.txt": "running (", "libvirt-domain.xml.txt": "<name>web1</name>", "qemu.log": "-name guest=web1", "console.log": "READY " + r.Addr("web1").String()} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s does not hold %q: %.300q", name, want, got[name])
		}
	}
	virtShows(t, got["screenshot.png"])
	if logs := i.Logs("web1"); len(got) != 5 || len(logs) != 1 || logs[0].Name != "console.log" {
		t.Errorf("%d pieces, logs %+v", len(got), logs)
	}
	far, _ := overSSH(t, rig.NewSSHD(t), engine.Spec{Engine: "libvirt", URI: r.URI()})
	there, _ := virtBundle(t, far, "web1")
	virtShows(t, there["screenshot.png"])
	if len(far.Logs("web1")) != 0 || there["host-uptime.txt"] == "" {
		t.Errorf("logs %+v of %d pieces", far.Logs("web1"), len(there))
	}
}

func virtShows(t *testing.T, picture string) {
	t.Helper()
	img, err := png.Decode(strings.NewReader(picture))
	if err != nil || img.Bounds().Dx() < 320 || img.Bounds().Dy() < 200 {
		t.Errorf("a screen of %d bytes: %v", len(picture), err)
	}
}

// A console that is not what it was: a link to elsewhere, a pipe, 10 GB.
func virtHostileConsole(t *testing.T, r *rig.Libvirt) {
	virtRun(t, r, "web3")
	i, _ := libvirtOpen(t, r, 0)
	console := r.Console("web3")
	for name, replace := range map[string]func() error{
		"a link": func() error { return os.Symlink("/etc/shadow", console) },
		"a pipe": func() error { return syscall.Mkfifo(console, 0o600) },
		"10 GB": func() error {
			f, err := os.Create(console)
			if err == nil {
				_, err = f.WriteAt([]byte("\nits last words\n"), 10<<30)
				_ = f.Close()
			}
			return err
		},
	} {
		if err := os.Remove(console); err != nil {
			t.Fatal(err)
		}
		if err := replace(); err != nil {
			t.Fatal(err)
		}
		got, missing := virtBundle(t, i, "web3")
		text := got["console.log"]
		if name == "10 GB" && (!strings.HasSuffix(text, "its last words\n") || len(text) > 1<<20) || name != "10 GB" && (text != "" || !slices.Contains(missing, "engine-console.log")) {
			t.Errorf("%s: %d bytes %.100q, not obtained %q", name, len(text), text, missing)
		}
	}
}

// virtBundle takes what an instance keeps of a container, as the agent does, and gives the files of the bundle, and what could
// not be obtained.
func virtBundle(t *testing.T, i *engine.Instance, id string) (files map[string]string, missing []string) {
	t.Helper()
	rec, err := evidence.New(evidence.Options{Dir: t.TempDir(), Runner: hostexec.New(hostexec.Options{Dir: t.TempDir(), Place: hostexec.PlaceDirect}), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	var items []evidence.Item
	for _, s := range i.Evidence(id, find(t, list(t, i), id)) {
		item := evidence.Item{Name: "engine-" + s.Name, Argv: s.Argv, Runner: i.Runner(), Path: s.Path, Root: s.Root, Volatile: s.Volatile, Max: s.Tail, Image: s.Image, Timeout: 20 * time.Second}
		if s.Tail > 0 {
			item.Cut = evidence.KeepTail
		}
		items = append(items, item)
	}
	sealed, err := rec.Begin(evidence.Request{Incident: "trial", Ref: health.Ref{Engine: "libvirt", ID: id}, Name: id, Items: items}).Seal(t.Context(), evidence.Report{})
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(sealed.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = z.Close() }()
	files = map[string]string{}
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, "before/engine-")
		if !ok {
			continue
		}
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(b)
	}
	for _, item := range items {
		if _, ok := files[strings.TrimPrefix(item.Name, "engine-")]; !ok && !strings.HasSuffix(item.Name, ".xml") {
			missing = append(missing, item.Name)
		}
	}
	return files, missing
}
