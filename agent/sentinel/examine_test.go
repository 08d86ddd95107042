package sentinel

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"atalaya/agent/health"
)

func TestExamine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		got  health.Finding
		want health.Grade
	}{
		{"pidfd", judgePidfd(nil), health.GradeOK},
		{"no pidfd", judgePidfd(unix.ENOSYS), health.GradeWarn},
		{"fanotify", judgeFanotify(nil), health.GradeOK},
		{"no fanotify", judgeFanotify(unix.EPERM), health.GradeWarn},
		{"an old kernel", judgeFanotify(unix.EINVAL), health.GradeWarn},
		{"ours", judgeNetns(nil, "net:[1]", "net:[1]"), health.GradeOK},
		{"another", judgeNetns(nil, "net:[1]", "net:[2]"), health.GradeStop},
		{"unknown", judgeNetns(nil, "net:[1]", ""), health.GradeNote},
		{"none", judgeNetns(errors.New("no"), "", ""), health.GradeNote},
	} {
		f := c.got
		if f.Grade != c.want || f.Check == "" || f.What == "" || f.Grade != health.GradeOK && (f.Why == "" || f.Do == "") {
			t.Errorf("%s: %+v, want %s", c.name, f, c.want)
		}
	}
	if got := Examine(); len(got) != 3 {
		t.Errorf("%+v", got)
	}
}
