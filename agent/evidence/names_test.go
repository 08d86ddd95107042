package evidence

import (
	"strings"
	"testing"
)

// Whatever an item is called, its file stands in its folder, once, under a name that every system can unpack; and the
// name that was asked for is told.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	names := []string{
		"../../../etc/cron.d/x", "/etc/passwd", `..\..\windows\win.ini`, "a\nb", "a\x00b", "\x1b[2J", "CON", "nul.txt", "COM1.log",
		"", ".", "..", "...", strings.Repeat("x", 3000), "REPORT.txt", "report.TXT", "same", "same", "SAME", "ünïcode", "\xff\xfe",
		"before/x", "-rf", "a b", "x.exe", "x.", "trailing ",
	}
	var items []Item
	for _, n := range names {
		items = append(items, Item{Name: n, Data: []byte(n)})
	}
	s, m := capture(t, newRecorder(t), items...)
	seen := map[string]bool{}
	for _, rec := range m.Files[1:] {
		base := strings.TrimPrefix(rec.File, "before/")
		if seen[strings.ToLower(rec.File)] || base == rec.File || base != safeName(base) || len(base) > maxName+4 {
			t.Errorf("file %q for %s", rec.File, rec.Asked)
		}
		seen[strings.ToLower(rec.File)] = true
	}
	if len(seen) != len(names) {
		t.Errorf("%d files for %d names", len(seen), len(names))
	}
	if rec := m.record(t, "before/etc-cron.d-x.txt"); rec.Asked != `"../../../etc/cron.d/x"` {
		t.Errorf("%+v", rec)
	}
	unpackElsewhere(t, s.Path)
}

// More items than a round takes are not taken, and that is said.
func TestTooManyItems(t *testing.T) {
	t.Parallel()
	var items []Item
	for range 5000 {
		items = append(items, Item{Name: "x", Data: []byte("x")})
	}
	s, m := capture(t, newRecorder(t), items...)
	if len(m.Files) != MaxItems+1 || len(m.Notes) != 1 || !strings.Contains(m.Notes[0], "4744 of 5000 items were not taken") {
		t.Errorf("%d files, notes %q", len(m.Files), m.Notes)
	}
	if report := content(t, s.Path, ReportName); len(report) > 32<<10 {
		t.Errorf("the report has %d bytes", len(report))
	}
}
