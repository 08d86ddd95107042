package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// listed is what go list tells about one package; Imports leaves out those of tests.
type listed struct {
	ImportPath string
	GoFiles    []string // those of tests apart
	Imports    []string
}

// TestImportsFollowTheDesign holds the code to the tables of docs/design.md.
func TestImportsFollowTheDesign(t *testing.T) {
	t.Parallel()
	d, err := readDesign()
	if err != nil {
		t.Fatal(err)
	}
	packages, err := goList()
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range d.violations(packages) {
		t.Error(broken)
	}
}

// TestPictureShowsTheTable: every arrow of the picture is allowed by the table, and
// what the table allows follows from the picture's arrows.
func TestPictureShowsTheTable(t *testing.T) {
	t.Parallel()
	d, err := readDesign()
	if err != nil {
		t.Fatal(err)
	}
	reach := map[string]set{}
	for _, w := range d.words {
		reach[w] = set{}
		d.follow(w, reach[w])
	}
	for _, e := range d.edges {
		if !d.may[e[0]][e[1]] {
			t.Errorf("%s: the picture has %s --> %s, the table has not (%q)", designFile, e[0], e[1], d.line[e[0]])
		}
	}
	for from, may := range d.may {
		for to, allowed := range may {
			if allowed && from != to && !reach[from][to] {
				t.Errorf("%s: the table lets %s import %s (%q), and no arrows of the picture lead there", designFile, from, to, d.line[from])
			}
		}
	}
}

func (d design) follow(from string, seen set) {
	for _, e := range d.edges {
		if e[0] == from && !seen[e[1]] {
			seen[e[1]] = true
			d.follow(e[1], seen)
		}
	}
}

// TestViolationsAreSeen breaks the design on purpose in every way that it forbids.
func TestViolationsAreSeen(t *testing.T) {
	t.Parallel()
	d, err := readDesign()
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		from, to string
		want     string // "" is allowed
	}{
		{"atalaya/agent/health", "atalaya/agent/store", `"health, hostexec, secret -> nothing of ours"`},
		{"atalaya/agent/engine", "atalaya/agent/hostexec", ""},
		{"atalaya/agent/engine", "atalaya/agent/secret", `"engine, host             -> health, hostexec"`},
		{"atalaya/agent", "atalaya/agent/notify", "agent may not import notify"},
		{"atalaya/agent/config", "atalaya/agent/sentinel", "config may not import sentinel"},
		{"atalaya/agent/config", "atalaya/agent/web", ""},
		{"atalaya/agent/web", "atalaya/agent/config", "web may not import config"},
		{"atalaya/probes", "atalaya/cmd/atalaya", "probes may not import cmd"},
		{"atalaya/cmd/atalaya", "atalaya/agent", ""},
		{"atalaya/cmd/atalaya", "os/exec", "os/exec"},
		{"atalaya/cmd/atalaya", "atalaya/cmd/atalaya-lab/rig", "atalaya/cmd/atalaya-lab"},
		{"atalaya/cmd/atalaya-lab", "atalaya/cmd/atalaya-lab/rig", ""},
		{"atalaya/agent/hostexec", "os/exec", ""},
		{"atalaya/agent/store", "modernc.org/sqlite/lib", ""},
		{"atalaya/agent/notify", "database/sql", "database/sql"},
		{"atalaya/agent/util", "strings", "not in the table"},
	}
	for _, c := range cases {
		got := strings.Join(d.violations([]listed{{ImportPath: c.from, Imports: []string{c.to}}}), "\n")
		if c.want == "" && got != "" || c.want != "" && !strings.Contains(got, c.want) {
			t.Errorf("%s importing %s: got %q, want %q in it", c.from, c.to, got, c.want)
		}
	}
}

// violations are the messages for whoever added an import that the design forbids.
func (d design) violations(packages []listed) (broken []string) {
	for _, p := range packages {
		from := wordOf(p.ImportPath)
		if _, known := d.may[from]; !known {
			broken = append(broken, fmt.Sprintf("package %s is not in the table of docs/design.md; "+
				"put it into a package that is there, or give it a line, say its job, and why in an ADR (docs/adr)", p.ImportPath))
			continue
		}
		for _, imported := range p.Imports {
			broken = append(broken, d.judge(p.ImportPath, imported)...)
		}
	}
	return broken
}

func (d design) judge(importer, imported string) (broken []string) {
	from, to := wordOf(importer), wordOf(imported)
	if to != "" && to != from && !d.may[from][to] {
		broken = append(broken, fmt.Sprintf("%s imports %s: %s may not import %s by the line %q of docs/design.md; "+
			"move the code, or change that line and say why in an ADR (docs/adr)", importer, imported, from, to, d.line[from]))
	}
	for _, o := range d.owners {
		if o.covers(imported) && !o.owns(importer) {
			broken = append(broken, fmt.Sprintf("%s imports %s, which has its owners by the line %q of docs/design.md; "+
				"ask the owner for what you need, or change that line and say why in an ADR (docs/adr)", importer, imported, o.line))
		}
	}
	return broken
}

func goList() ([]listed, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,GoFiles,Imports", "./...")
	cmd.Dir = "../.."
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, errOut.String())
	}
	var packages []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		if len(p.GoFiles) > 0 { // a folder with nothing but tests, such as systemd, is no package of the design
			packages = append(packages, p)
		}
	}
}
