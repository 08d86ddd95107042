package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/config.md and configs/atalaya.yaml are written from the table: go test ./agent/config -run Manual -update
var update = flag.Bool("update", false, "write docs/config.md and configs/atalaya.yaml anew")

const (
	manualPath = "../../docs/config.md"
	samplePath = "../../configs/atalaya.yaml"
)

func TestManualIsOfTheTable(t *testing.T) {
	for path, want := range map[string]string{manualPath: manual(), samplePath: sample()} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the table says: run go test ./agent/config -run Manual -update", path)
		}
	}
}

const manualHead = `# Configuration

<!-- Written by go test ./agent/config -run Manual -update from the table in agent/config. Do not edit. -->

Atalaya works without a configuration file: it finds the engines, watches every container, heals those that start with
the host, and records alerts for the rest. The file is ` + "`" + DefaultPath + "`" + `, or what ` + "`--config`" + ` or ` + "`" + PathVariable + "`" + ` names.
` + "`configs/atalaya.yaml`" + ` has every key in it, commented out, with its default.

- **Nothing is ignored.** Unknown keys, keys given twice, numbers without a unit and names that exist nowhere are errors:
  all of them at once, each with its line. ` + "`atalaya config check`" + ` shows them.
- **Reload** with SIGHUP or ` + "`systemctl reload atalaya`" + `. With a mistake in the new file, the configuration that runs stays. Few parts wait for a restart of the agent; [docs/systemd.md](systemd.md#reload) names them, and ` + "`atalaya status`" + ` those that do.
- **Durations** have a unit: ` + "`300ms`, `10s`, `5m`, `6h`, `90d`" + `. **Sizes** too: ` + "`64KiB`, `2GiB`" + `.
- **Secrets** are best given as ` + "`file:/PATH`" + ` (not readable by everybody), ` + "`env:NAME`" + ` or ` + "`credential:NAME`" + ` (systemd's
  ` + "`LoadCredential=`" + `). They are printed nowhere.
- **Anchors** may be kept under top-level keys that begin with ` + "`x-`" + `.

## Precedence

For the whole agent: built-in defaults, then the file, then the environment. Every key that is one value and stands in no
list has a variable: ` + "`ATALAYA_MODE`, `ATALAYA_STORE_DIR`, `ATALAYA_DEFAULTS_BUDGET_ATTEMPTS`" + `. An unknown variable that begins
with ` + "`ATALAYA_`" + ` is an error.

For one container: built-in defaults, then ` + "`defaults`" + `, then every rule of ` + "`containers`" + ` that matches, in the order of the file.
Key by key, the later wins; probes are merged by name. ` + "`mode`" + ` at the top bounds the mode of every container.
` + "`atalaya config show NAME`" + ` shows what holds and which line said so.
`

// manual is docs/config.md.
func manual() string {
	var b strings.Builder
	b.WriteString(manualHead)
	b.WriteString("\n## Keys\n\n")
	rows(&b, schema())
	for _, k := range schema() {
		section(&b, "", k)
	}
	return b.String()
}

func rows(b *strings.Builder, keys []key) {
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, k := range keys {
		def := ""
		if k.def != "" {
			def = "`" + k.def + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.name, strings.ReplaceAll(k.looks(), "|", "\\|"), def, strings.ReplaceAll(k.doc+k.onlyFor(), "|", "\\|"))
	}
}

// section describes what is below a key. The settings of rules are those of defaults, and the probes in them are those
// of probes: they are described once.
func section(b *strings.Builder, prefix string, k key) {
	path := prefix + k.name
	if len(k.keys) == 0 || strings.HasPrefix(path, "containers.") && path != "containers.match" || path == "defaults.probes" || strings.HasSuffix(path, "channels.headers") {
		return
	}
	fmt.Fprintf(b, "\n### `%s`\n\n%s\n\n", path, k.doc)
	rows(b, k.keys)
	if k.example != "" {
		fmt.Fprintf(b, "\n```yaml\n%s```\n", k.example)
	}
	for _, sub := range k.keys {
		section(b, path+".", sub)
	}
}

// looks says what a value of k looks like.
func (k key) looks() string {
	var s string
	switch k.kind {
	case text:
		s = "text"
	case duration:
		s = "duration"
	case size:
		s = "size"
	case whole:
		s = "number"
	case truth:
		s = "true, false"
	case choice:
		s = strings.Join(k.of, ", ")
	case texts:
		s = "list of texts"
	case names:
		s = "text or list of texts"
	case times:
		s = "list of durations"
	case block:
		s = "keys"
	case list:
		s = "list"
	}
	if k.high > 0 {
		s += fmt.Sprintf(", %s to %s", k.show(k.low), k.show(k.high))
	}
	if k.required {
		s += ", required"
	}
	return s
}

func (k key) onlyFor() string {
	if len(k.only) == 0 {
		return ""
	}
	return " Only for " + strings.Join(k.only, ", ") + "."
}
