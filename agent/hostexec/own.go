package hostexec

import (
	"bytes"
	"os"
	"strconv"
)

// ownMark is in the environment of every changing command and of what it runs, by whomever it is adopted later. A start has
// none: the container may be given the environment of the command that starts it, and must inherit nothing of ours.
const ownMark = "ATALAYA_OP="

func (c Command) marked(op Op) Command {
	if op.Verb != "start" {
		c.Env = append(c.Env[:len(c.Env):len(c.Env)], ownMark+op.ID)
	}
	return c
}

// Own reports whether the process is a changing command of an agent's, this one's or an earlier one's, or belongs to one: so
// nobody takes it for a person's doing. A process that cannot be read is not.
func Own(pid int) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && (bytes.HasPrefix(env, []byte(ownMark)) || bytes.Contains(env, []byte("\x00"+ownMark)))
}
