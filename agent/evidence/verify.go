package evidence

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxUnpacked bounds what is unpacked of a bundle that somebody else may have made, in bytes.
const maxUnpacked = 512 << 20

// A Verified is what Verify found out about a bundle.
type Verified struct {
	Path     string   `json:"path"`
	SHA256   string   `json:"sha256"` // of the whole .zip: compare it with the one in the alert
	Size     int64    `json:"size"`
	Incident string   `json:"incident,omitempty"`
	Part     int      `json:"part,omitempty"`
	Files    int      `json:"files"`
	Problems []string `json:"problems,omitempty"` // exactly what differs; empty: intact
}

// An Altered bundle is not as it was sealed.
type Altered struct {
	Path     string
	Problems []string
}

// Error names everything that differs.
func (e *Altered) Error() string {
	return fmt.Sprintf("bundle %q is not as it was sealed: %s", e.Path, strings.Join(e.Problems, "; "))
}

// Verify checks that every file of the bundle is as it was sealed, that none is missing and none was added, and that the
// archive holds nothing besides them. The error is an *Altered where something differs, another where the bundle could
// not be read at all.
//
// What it cannot know: whether somebody made a whole new bundle, digests included. For that, compare SHA256 with the
// digest in the alert, which left this host when the bundle was sealed.
func Verify(path string) (Verified, error) {
	v := Verified{Path: path}
	b, err := open(path)
	if err != nil {
		return v, err
	}
	sum := sha256.Sum256(b.raw)
	v.SHA256, v.Size = hex.EncodeToString(sum[:]), int64(len(b.raw))
	v.Problems = b.problems
	if b.zip != nil {
		v.Problems = append(v.Problems, b.compare()...)
		v.Files = len(b.content)
		v.describe(b)
	}
	if len(v.Problems) > 0 {
		return v, &Altered{Path: path, Problems: v.Problems}
	}
	return v, nil
}

// describe takes incident and part from the manifest, as far as it can be read.
func (v *Verified) describe(b *bundle) {
	var m Manifest
	if json.Unmarshal(b.content[ManifestName], &m) == nil {
		v.Incident, v.Part = m.Incident, m.Part
	}
}

// A bundle is an archive in memory.
type bundle struct {
	raw      []byte
	zip      *zip.Reader
	content  map[string][]byte // what could be unpacked without an error
	broken   map[string]bool   // what could not
	problems []string
}

// open reads an archive whole. What is wrong with it becomes its problems; the error is for what is no readable file.
func open(path string) (*bundle, error) {
	raw, err := readWhole(path)
	if err != nil {
		return nil, fmt.Errorf("read the bundle: %w", err)
	}
	return unpackAll(raw), nil
}

// unpackAll reads an archive that is in memory.
func unpackAll(raw []byte) *bundle {
	var err error
	b := &bundle{raw: raw, content: map[string][]byte{}, broken: map[string]bool{}}
	if b.zip, err = zip.NewReader(bytes.NewReader(raw), int64(len(raw))); err != nil {
		b.zip = nil
		b.problems = append(b.problems, fmt.Sprintf("the archive's directory cannot be read (%v): the file was cut off or damaged", err))
		return b
	}
	b.problems = append(b.problems, layout(b.zip, raw)...)
	room := int64(maxUnpacked)
	for _, f := range b.zip.File {
		if b.content[f.Name] != nil || b.broken[f.Name] {
			b.problems = append(b.problems, fmt.Sprintf("%q stands in the archive twice", f.Name))
			continue
		}
		data, err := unpack(f, room)
		if err != nil {
			b.broken[f.Name] = true
			b.problems = append(b.problems, fmt.Sprintf("%q cannot be unpacked: %v", f.Name, err))
			continue
		}
		room -= int64(len(data))
		b.content[f.Name] = data
	}
	return b
}

// maxArchive bounds the bundle file itself.
const maxArchive = 256 << 20

func readWhole(path string) ([]byte, error) {
	f, err := openRegular("", path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxArchive+1))
	if err == nil && len(raw) > maxArchive {
		err = fmt.Errorf("%q is larger than %s, which no bundle is", path, bytesWords(maxArchive))
	}
	return raw, err
}

func unpack(f *zip.File, room int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	data, err := io.ReadAll(io.LimitReader(r, room+1))
	if err == nil && int64(len(data)) > room {
		err = fmt.Errorf("it unpacks to more than %s", bytesWords(maxUnpacked))
	}
	if data == nil {
		data = []byte{}
	}
	return data, err
}

// sumLine is a line of SHA256SUMS exactly as we write it.
var sumLine = regexp.MustCompile(`^([0-9a-f]{64})  ([A-Za-z0-9._/-]+)$`)

// compare holds every file against SHA256SUMS.
func (b *bundle) compare() []string {
	text, ok := b.content[SumsName]
	if !ok {
		return []string{fmt.Sprintf("%q is missing or unreadable: nothing can be checked", SumsName)}
	}
	var out []string
	want := map[string]string{}
	lines := strings.Split(string(text), "\n")
	if lines[len(lines)-1] != "" {
		out = append(out, fmt.Sprintf("%q does not end with a line end", SumsName))
	}
	for n, line := range lines[:len(lines)-1] {
		m := sumLine.FindStringSubmatch(line)
		switch {
		case m == nil:
			out = append(out, fmt.Sprintf("%q: line %d is not a digest and a name", SumsName, n+1))
		case want[m[2]] != "":
			out = append(out, fmt.Sprintf("%q: line %d names %q again", SumsName, n+1, m[2]))
		default:
			want[m[2]] = m[1]
		}
	}
	return append(out, b.differences(want)...)
}

func (b *bundle) differences(want map[string]string) []string {
	var out []string
	for _, f := range b.zip.File {
		data, ok := b.content[f.Name]
		switch {
		case f.Name == SumsName || !ok:
		case want[f.Name] == "":
			out = append(out, fmt.Sprintf("%q was added: %s does not name it", f.Name, SumsName))
		default:
			if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != want[f.Name] {
				out = append(out, fmt.Sprintf("%q was changed: its digest is %x, sealed was %s", f.Name, sum, want[f.Name]))
			}
		}
	}
	for name := range want {
		if _, ok := b.content[name]; !ok && !b.broken[name] {
			out = append(out, fmt.Sprintf("%q is missing", name))
		}
	}
	slices.Sort(out)
	return out
}

// Show writes one file of the bundle at path to w; name "" means REPORT.txt. Control characters and escape sequences are
// taken out, line ends and tabs are kept: what a container wrote must not drive the reader's terminal. The bytes as they
// were are had with any unzip.
func Show(path string, w io.Writer, name string) error {
	b, err := open(path)
	if err != nil {
		return err
	}
	return b.show(path, w, name)
}

// ShowContent is Show for a bundle that is in memory; path is what it is called.
func ShowContent(raw []byte, path string, w io.Writer, name string) error {
	return unpackAll(raw).show(path, w, name)
}

func (b *bundle) show(path string, w io.Writer, name string) error {
	if name == "" {
		name = ReportName
	}
	data, ok := b.content[name]
	if !ok {
		return b.cannotShow(path, name)
	}
	for line := range bytes.Lines(bytes.TrimPrefix(data, []byte("\ufeff"))) {
		cells := strings.Split(strings.TrimRight(string(line), "\r\n"), "\t")
		for i := range cells {
			cells[i] = printable(cells[i])
		}
		if _, err := io.WriteString(w, strings.Join(cells, "\t")+"\n"); err != nil {
			return fmt.Errorf("show %q: %w", name, err)
		}
	}
	return nil
}

func (b *bundle) cannotShow(path, name string) error {
	if b.zip == nil || b.broken[name] {
		return &Altered{Path: path, Problems: b.problems}
	}
	var names []string
	for _, f := range b.zip.File {
		names = append(names, f.Name)
	}
	return fmt.Errorf("bundle %q has no file %q; it has %s", path, name, strings.Join(names, ", "))
}

// bundleName is the name of a bundle's file.
var bundleName = regexp.MustCompile(`^(.+)-p([1-9][0-9]{0,5})\.zip$`)

// List gives the sealed bundles in a folder, by incident and part, without opening them; their SHA256 is left empty.
func List(dir string) ([]Sealed, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list evidence bundles: %w", err)
	}
	var out []Sealed
	for _, e := range entries {
		m := bundleName.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() {
			continue
		}
		st, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // pruned meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("list evidence bundles: %w", err)
		}
		part, _ := strconv.Atoi(m[2]) // six digits are a number
		out = append(out, Sealed{
			Path: filepath.Join(dir, e.Name()), Incident: m[1], Part: part, Size: st.Size(), At: st.ModTime(),
		})
	}
	slices.SortFunc(out, func(a, b Sealed) int {
		if a.Incident != b.Incident {
			return strings.Compare(a.Incident, b.Incident)
		}
		return a.Part - b.Part
	})
	return out, nil
}
