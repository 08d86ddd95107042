package health

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	designFile   = "../../docs/design.md"
	diagramBegin = "<!-- generated from agent/health/testdata by TestDiagram -update: begin -->\n"
	diagramEnd   = "<!-- generated: end -->\n"
)

// told collects, from all timelines, which phase follows which, and upon what.
func told(t *testing.T) map[[2]Phase][]string {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	moves := map[[2]Phase][]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		before := Phase("")
		for line := range strings.Lines(string(b)) {
			in, out, ok := strings.Cut(strings.TrimSpace(line), "-> ")
			if !ok || strings.HasPrefix(in, "#") {
				continue
			}
			after := Phase(strings.Fields(out)[0])
			if before != "" && before != after {
				k := [2]Phase{before, after}
				moves[k] = append(moves[k], cause(strings.Fields(in)[1:]))
			}
			before = after
		}
	}
	return moves
}

// cause names the kind of event that moved a container.
func cause(words []string) string {
	w, v, _ := strings.Cut(words[0], "=")
	w, _, _ = strings.Cut(w, ":")
	switch w {
	case "died":
		return "death"
	case "look", "late-look":
		v, _, _ = strings.Cut(v, ":")
		return "look: " + v
	case "done":
		return "done"
	case "tick":
		return "time"
	case "host":
		return "host"
	case "job", "ended":
		return "schedule"
	case "want", "unwant", "hold", "release", "window":
		return w
	case "reborn", "rebooted":
		return "new agent"
	case "web", "slow":
		return "probe " + v
	}
	return "list: " + w
}

func diagram(moves map[[2]Phase][]string) string {
	var b strings.Builder
	b.WriteString(diagramBegin + "```mermaid\nstateDiagram-v2\n    [*] --> new\n")
	for _, from := range Phases() {
		for _, to := range Phases() {
			causes := moves[[2]Phase{from, to}]
			if len(causes) == 0 {
				continue
			}
			slices.Sort(causes)
			causes = slices.Compact(causes)
			if len(causes) > 3 {
				causes = append(causes[:3], "…")
			}
			fmt.Fprintf(&b, "    %s --> %s: %s\n", from, to, strings.Join(causes, ", "))
		}
	}
	b.WriteString("    gone --> [*]\n```\n" + diagramEnd)
	return b.String()
}

// The diagram in the design is what the timelines do.
func TestDiagram(t *testing.T) {
	b, err := os.ReadFile(designFile)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), diagramBegin)
	_, tail, ok2 := strings.Cut(rest, diagramEnd)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the lines %q and %q", designFile, diagramBegin, diagramEnd)
	}
	want := diagram(told(t))
	if *update {
		if err := os.WriteFile(designFile, []byte(head+want+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := diagramBegin + rest[:len(rest)-len(diagramEnd)-len(tail)] + diagramEnd; got != want {
		t.Errorf("the diagram in %s is not what the timelines do; go test ./agent/health -run TestDiagram -update, and read the difference", designFile)
	}
}
