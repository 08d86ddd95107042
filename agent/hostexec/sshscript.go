package hostexec

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// What is said to the shell of another host: POSIX sh, with the tools that CentOS 6 (the world of OpenVZ 6) and busybox
// have. It is given to /bin/sh on standard input, so that neither the person's login shell nor the kernel's limit for one
// argument comes in between.

// word quotes s for a POSIX shell, whatever is in it; NUL cannot be.
func word(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func words(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = word(s)
	}
	return strings.Join(out, " ")
}

// plainCommand is the command with the environment that a command has here; see Command.environ. HOME is the other host's.
func plainCommand(c Command, before string) string {
	env := append([]string{"PATH=" + searchPath, "LC_ALL=C"}, c.Env...)
	return "env -i \"HOME=${HOME:-/}\" " + words(env) + " " + before + words(c.Argv)
}

// readScript runs a command that only reads. Past its limit, and some seconds for the way there and back, it is killed
// with its process group.
func readScript(c Command) string {
	seconds := int(c.timeout()/time.Second) + 3
	cut := fmt.Sprintf("timeout -s KILL %d ", seconds)
	return "cd " + word(c.dir()) + " && {\n" +
		"if command -v timeout >/dev/null 2>&1; then\n" + plainCommand(c, cut) + " </dev/null\n" +
		"else\n" + plainCommand(c, "") + " </dev/null\nfi\n}\nr=$?"
}

// What a script about a changing command says instead of an exit code.
const (
	farRuns    = 1000 // it goes on
	farNever   = 1001 // it was never begun, and never will be
	farLost    = 1002 // it has ended, and nobody wrote down how
	farNoPlace = 1003 // there is no folder for it
	farTaken   = 1004 // another command has its name
)

// farHome goes to the folder of changing commands, in which each has a folder of its own. It is never one in which others
// may write. Each script that could have its words run late, after a lost connection, begins by making the command's
// folder: only one of them can, so that a command is begun at most once, and not at all when it was given up.
const farHome = `umask 077
r=1003
for b in /run /var/run "$HOME"; do
if [ -n "$b" ] && [ -d "$b" ] && [ -w "$b" ] && mkdir -p "$b/atalaya-commands" 2>/dev/null && cd "$b/atalaya-commands"; then
r=0; break
fi
done
alive() {
stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
since=$2
set -- ${stat##*) }
[ "$1" != Z ] && [ "${20}" = "$since" ]
}
`

// farReport prints what a command that has ended printed, and how it ended.
func farReport(max int) string {
	return fmt.Sprintf(`read r <"$o/exit"
: >>"$o/out"
: >>"$o/err"
sizes="$(($(wc -c <"$o/out"))) $(($(wc -c <"$o/err")))"
head -c %d "$o/out"
head -c %d "$o/err" >&2
`, max, max)
}

// launchScript begins a changing command and waits for it. It runs in a session of its own, its output goes to files, and
// a shell beside it writes down how it ends: it needs neither us nor the connection.
func launchScript(name string, c Command) string {
	keeper := `read b </proc/sys/kernel/random/boot_id
s=$(cat /proc/$$/stat); s=${s##*) }; set -- $s
echo "$$ ${20} $b" >"$o/half" && mv "$o/half" "$o/run"
(cd ` + word(c.dir()) + ` && exec ` + plainCommand(c, "") + `) &
c=$!
s=$(cat "/proc/$c/stat" 2>/dev/null); s=${s##*) }; set -- $s
echo "$c ${20}" >"$o/pid"
wait $c
echo $? >"$o/half" && mv "$o/half" "$o/exit"`
	return farHome + "o=" + word(name) + `
if [ $r = 0 ]; then
if mkdir "$o" 2>/dev/null; then
export o
s=; command -v setsid >/dev/null 2>&1 && s=setsid
$s /bin/sh -c ` + word(keeper) + ` </dev/null >>"$o/out" 2>>"$o/err" &
wait $!
if [ -e "$o/exit" ]; then
` + farReport(c.maxOut()) + `else r=` + strconv.Itoa(farLost) + `
fi
else
r=` + strconv.Itoa(farTaken) + `
[ -d "$o" ] || r=` + strconv.Itoa(farNoPlace) + `
fi
fi`
}

// maxFarOutput is what an output may come to occupy on the other host: it is emptied beyond it.
const maxFarOutput = 4 << 20

// askScript asks how a changing command stands. One that was not begun by now never will be.
func askScript(name string, max int) string {
	return farHome + "o=" + word(name) + fmt.Sprintf(`
if [ $r = 0 ]; then
if mkdir "$o" 2>/dev/null; then : >"$o/never"; r=%[2]d
elif [ -e "$o/never" ]; then r=%[2]d
elif [ -e "$o/exit" ]; then
%[5]selif [ -e "$o/run" ]; then
read p t b <"$o/run"
read now </proc/sys/kernel/random/boot_id
q=0 u=0
[ -e "$o/pid" ] && read q u <"$o/pid"
r=%[1]d
for f in "$o/out" "$o/err"; do [ $(($(wc -c <"$f"))) -gt %[4]d ] && : >"$f"; done
if [ "$b" != "$now" ] || { ! alive "$p" "$t" && ! alive "$q" "$u"; }; then
r=%[3]d
if [ -e "$o/exit" ]; then
%[5]sfi
fi
elif [ -n "$(find "$o" -maxdepth 0 -mmin +1)" ]; then r=%[3]d
else r=%[1]d
fi
fi`, farRuns, farNever, farLost, maxFarOutput, farReport(max))
}

// termScript asks a command past its limit to end: itself, and nothing that it started.
func termScript(name string) string {
	return farHome + "o=" + word(name) + `
[ $r = 0 ] && [ -e "$o/pid" ] && [ ! -e "$o/exit" ] && read q u <"$o/pid" && alive "$q" "$u" && kill -TERM "$q"
r=$?`
}

// sweepScript lets go of a command that has ended, and of what is left of those before. The folder itself stays for a day:
// as long as it is there, no late word can begin the command again.
func sweepScript(name string) string {
	return farHome + "o=" + word(name) + `
[ $r = 0 ] && {
rm -f "$o/out" "$o/err"
[ -e "$o/exit" ] || : >"$o/exit"
find . -mindepth 2 -maxdepth 2 \( -name exit -o -name never \) -mtime +0 -print | while read -r f; do rm -rf "${f%/*}"; done
}`
}
