package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The files that every bundle has.
const (
	ReportName   = "REPORT.txt"
	ManifestName = "manifest.json"
	SumsName     = "SHA256SUMS"
)

// A Sealed is a bundle on disk.
type Sealed struct {
	Path     string    `json:"path"`
	Incident string    `json:"incident"`
	Part     int       `json:"part"`
	SHA256   string    `json:"sha256"` // of the whole .zip, in hex
	Size     int64     `json:"size"`   // of the whole .zip, in bytes
	At       time.Time `json:"at"`
}

// Seal waits until what was started is in (each by its own deadline, all by ctx), redacts it, and writes
// INCIDENT-pPART.zip: whole, fsynced, readable by its owner alone, or not at all. One item that cannot be had is named in
// the manifest and costs nothing else. After an error, which is the disk's (full, read-only, gone), Seal may be called
// again; after a success, never.
func (c *Capture) Seal(ctx context.Context, rep Report) (Sealed, error) {
	entries, excess, err := c.settle(ctx)
	if err != nil {
		return Sealed{}, err
	}
	begun := time.Now()
	s, err := c.r.seal(c, rep, entries, excess)
	if err != nil {
		c.r.metrics.failed.Inc()
		return Sealed{}, fmt.Errorf("seal the evidence of incident %q: %w", c.q.Incident, err)
	}
	c.end()
	c.r.metrics.seal.Observe(time.Since(begun).Seconds())
	c.r.metrics.bytes.Add(float64(s.Size))
	return s, nil
}

func (r *Recorder) seal(c *Capture, rep Report, entries []*entry, excess []string) (Sealed, error) {
	r.sealing.Lock()
	defer r.sealing.Unlock()
	if err := makeDir(r.o.Dir); err != nil { // somebody may have removed it since
		return Sealed{}, err
	}
	q := c.q
	path := r.free(&q)
	now := time.Now()
	p, err := newPacker(r.tuning.Load().Level)
	if err != nil {
		return Sealed{}, err
	}
	a := r.assemble(q, entries, excess)
	if err := a.fit(r.o.MaxBytes-min(reserve, r.o.MaxBytes/4), r.o.MaxBytes, p); err != nil {
		return Sealed{}, err
	}
	members, err := r.finish(a, p, c.manifest(q, now), rep)
	if err != nil {
		return Sealed{}, err
	}
	archive, err := writeZip(members, stamp(q))
	if err != nil {
		return Sealed{}, err
	}
	if err := writeNew(path, archive); err != nil {
		return Sealed{}, err
	}
	sum := sha256.Sum256(archive)
	return Sealed{
		Path: path, Incident: q.Incident, Part: q.Part, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(archive)), At: now,
	}, nil
}

// reserve is what the report, the manifest and the sums may take of a bundle's bound.
const reserve = 48 << 10

// free gives the path of the first part from q.Part on that is not sealed yet: what is sealed is never changed.
func (r *Recorder) free(q *Request) string {
	for {
		path := filepath.Join(r.o.Dir, fmt.Sprintf("%s-p%d.zip", safeStem(q.Incident), q.Part))
		if _, err := os.Lstat(path); err != nil {
			return path
		}
		q.Part++
	}
}

func (c *Capture) manifest(q Request, now time.Time) Manifest {
	r := c.r
	return Manifest{
		Schema: ManifestSchema, Incident: q.Incident, Part: q.Part, Container: q.Ref.String(),
		Name: r.scrub(printable(q.Name)), Reason: r.scrub(printable(q.Reason)), Host: q.Host, Kernel: kernel(),
		Agent: r.o.Version, Failed: q.Failed.Round(0), Begun: c.began.Round(0), Sealed: now.Round(0),
		Clock: clockNow(now), MaxBytes: r.o.MaxBytes,
	}
}

// finish adds what describes the others: the report at the very beginning, then the manifest, then the sums.
func (r *Recorder) finish(a *assembly, p *packer, m Manifest, rep Report) ([]*member, error) {
	m.Notes = a.notes
	m.Missing = append([]Record{}, a.missing...)
	var files []Record
	for _, x := range a.members {
		files = append(files, x.rec)
	}
	report := &member{rec: Record{File: ReportName, Shows: "what happened, for people"}}
	m.Files = files
	report.data = r.redact(rep.render(m, r.scrub))
	if err := report.pack(p); err != nil {
		return nil, err
	}
	m.Files = append([]Record{report.rec}, files...)
	text, err := m.render()
	if err != nil {
		return nil, err
	}
	manifest := &member{rec: Record{File: ManifestName}, data: text}
	members := append([]*member{report, manifest, {rec: Record{File: SumsName}}}, a.members...)
	members[2].data = sums(members)
	for _, x := range members[1:3] {
		if err := x.pack(p); err != nil {
			return nil, err
		}
	}
	return members, nil
}

// sums is SHA256SUMS, as sha256sum writes and checks it, over every other file.
func sums(members []*member) []byte {
	var b bytes.Buffer
	for _, m := range members {
		if m.rec.File != SumsName {
			fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(m.data), m.rec.File)
		}
	}
	return b.Bytes()
}

// writeNew makes path with data: complete and on the disk, or not there. It replaces nothing.
func writeNew(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
				err = fmt.Errorf("%w: free some space, nothing half-written is left behind", err)
			}
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = moveNew(f.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	return err
}

// moveNew renames without replacing; where the file system cannot, by a second link.
func moveNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if err = unix.Link(from, to); err == nil {
			return os.Remove(from)
		}
	}
	if err != nil {
		return fmt.Errorf("rename %q to %q: %w", from, to, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync the folder %q: %w", dir, err)
	}
	return nil
}
