package web

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"atalaya/agent/health"
)

// ExamineControl says whether people can give orders: the control socket and the group that may use it, beside root.
// answers says that an agent answers there.
func ExamineControl(path, group string, answers bool) []health.Finding {
	return []health.Finding{examineSocket(path, answers), examineGroup(group)}
}

func examineSocket(path string, answers bool) health.Finding {
	const check = "control socket"
	info, err := os.Lstat(path)
	switch {
	case answers:
		return health.Finding{Check: check, Grade: health.GradeOK, What: fmt.Sprintf("the agent answers at %q, mode %04o", path, modeOf(info))}
	case err == nil && info.Mode()&fs.ModeSocket == 0:
		return health.Finding{Check: check, Grade: health.GradeStop, What: fmt.Sprintf("%q is there and is no socket", path),
			Why: "the agent does not start where its socket cannot be made", Do: "move it away, or set control.socket"}
	case err == nil:
		return health.Finding{Check: check, Grade: health.GradeNote, What: fmt.Sprintf("nobody answers at %q", path), Why: "it was left by an agent that was killed, or the agent hangs", Do: "nothing: the next one replaces it"}
	case !errors.Is(err, fs.ErrNotExist):
		return health.Finding{Check: check, Grade: health.GradeWarn, What: err.Error(), Why: "orders go through it", Do: "see to it that the folder can be entered"}
	}
	if len(path) > 107 { // unix(7)
		return health.Finding{Check: check, Grade: health.GradeStop, What: fmt.Sprintf("%q is longer than the kernel takes", path), Why: "the agent does not start", Do: "set control.socket to a shorter path"}
	}
	return health.Finding{Check: check, Grade: health.GradeOK, What: fmt.Sprintf("%q is free for an agent to take; its folder is %q", path, filepath.Dir(path))}
}

func modeOf(info fs.FileInfo) fs.FileMode {
	if info == nil {
		return 0
	}
	return info.Mode().Perm()
}

func examineGroup(name string) health.Finding {
	const check = "control group of people"
	g, err := user.LookupGroup(name)
	if err != nil {
		return health.Finding{Check: check, Grade: health.GradeNote, What: fmt.Sprintf("there is no group %q", name),
			Why: "only root can give orders to the agent", Do: fmt.Sprintf("addgroup --system %s, then adduser NAME %s, and restart the agent; or set control.group", name, name)}
	}
	return health.Finding{Check: check, Grade: health.GradeOK, What: fmt.Sprintf("members of %q (gid %s) may give orders", g.Name, g.Gid)}
}
