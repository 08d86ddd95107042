package web_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atalaya/agent/health"
	"atalaya/agent/web"
)

func TestExamineControl(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, left := filepath.Join(dir, "file"), filepath.Join(dir, "left")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, group string
		answers     bool
		want        []health.Grade
	}{
		{left, "root", true, []health.Grade{health.GradeOK, health.GradeOK}},
		{left, "root", false, []health.Grade{health.GradeNote, health.GradeOK}},
		{file, "root", false, []health.Grade{health.GradeStop, health.GradeOK}},
		{filepath.Join(dir, "absent"), "no-such-group", false, []health.Grade{health.GradeOK, health.GradeNote}},
		{file + "/below", "root", false, []health.Grade{health.GradeWarn, health.GradeOK}},
		{filepath.Join(dir, strings.Repeat("x", 110)), "root", false, []health.Grade{health.GradeStop, health.GradeOK}},
	} {
		got := web.ExamineControl(c.path, c.group, c.answers)
		for i, f := range got {
			if f.Grade != c.want[i] || f.What == "" || f.Grade != health.GradeOK && (f.Why == "" || f.Do == "") {
				t.Errorf("%s, %s: %+v, want %s", c.path, c.group, f, c.want[i])
			}
		}
	}
}
