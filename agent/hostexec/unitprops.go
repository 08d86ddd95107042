package hostexec

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"
)

type property struct {
	Name  string
	Value dbus.Variant
}

type execCommand struct {
	Path   string
	Args   []string
	Ignore bool
}

type auxUnit struct {
	Name       string
	Properties []property
}

// properties describe the unit; see systemd.service(5), systemd.exec(5), systemd.kill(5).
func properties(r record, c Command, path string, o outputs) []property {
	v := func(name string, value any) property { return property{name, dbus.MakeVariant(value)} }
	return []property{
		v("Description", printable(fmt.Sprintf("atalaya: %s %s", r.Op.Verb, r.Op.Container), 200)),
		// The job of a oneshot ends when its command ends. The "ignore" of ExecStart and RemainAfterExit keep the unit,
		// with the exit code, whatever it is: nothing shows as failed on the host that is not the host's failure.
		v("Type", "oneshot"),
		v("RemainAfterExit", true),
		v("ExecStart", []execCommand{{path, escapeDollars(c.Argv), true}}),
		v("WorkingDirectory", c.dir()),
		v("Environment", c.environ()),
		v("UnsetEnvironment", foreignEnvironment(c)),
		v("StandardInput", "null"),
		v("StandardOutputFileDescriptor", dbus.UnixFD(o.out.Fd())),
		v("StandardErrorFileDescriptor", dbus.UnixFD(o.err.Fd())),
		// Nothing is ever killed: not what the command left running (the container), and the command at most by SIGTERM
		// at the shutdown of the host.
		v("KillMode", "process"),
		v("SendSIGKILL", false),
		v("OOMPolicy", "continue"),
		v("TimeoutStartUSec", uint64(math.MaxUint64)),
		// As a person's shell would have it.
		v("UMask", uint32(0o022)),
		v("OOMScoreAdjust", int32(0)),
		v("IgnoreSIGPIPE", false),
		v("TasksMax", uint64(math.MaxUint64)),
	}
}

// escapeDollars keeps systemd from putting environment variables into arguments.
func escapeDollars(argv []string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = strings.ReplaceAll(a, "$", "$$")
	}
	return out
}

// foreignEnvironment names what systemd adds by itself, unless the command asks for it; see systemd.exec(5).
func foreignEnvironment(c Command) []string {
	added := []string{"INVOCATION_ID", "SYSTEMD_EXEC_PID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "LANG", "LANGUAGE",
		"MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"}
	return slices.DeleteFunc(added, func(name string) bool {
		return slices.ContainsFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	})
}

// expressible reports whether D-Bus can carry the command: its strings are UTF-8.
func expressible(c Command) bool {
	for _, list := range [][]string{c.Argv, c.Env, {c.Dir}} {
		for _, s := range list {
			if !utf8.ValidString(s) {
				return false
			}
		}
	}
	return true
}
