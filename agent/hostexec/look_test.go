package hostexec

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// inherited is what a process got from whoever started it.
type inherited struct {
	Status  map[string]string // of /proc/PID/status: NoNewPrivs, Seccomp, capabilities, signals, umask
	Limits  map[string]string // of /proc/PID/limits: soft and hard
	Nice    int
	OOM     string
	Cgroup  string
	MountNS string
	Env     []string
	Stdin   string
	Session bool // it leads a session
	Dir     string
}

var (
	statusLine = regexp.MustCompile(`(?m)^(NoNewPrivs|Seccomp|CapInh|CapPrm|CapEff|CapBnd|CapAmb|SigBlk|SigIgn|Umask):\s*(\S+)`)
	limitLine  = regexp.MustCompile(`(?m)^(Max [a-z -]+?)\s{2,}(\S+)\s+(\S+)`)
)

// lookAt reads it from outside, because a Go program changes its own limits at once.
func lookAt(pid int) inherited {
	dir := "/proc/" + strconv.Itoa(pid)
	in := inherited{Status: map[string]string{}, Limits: map[string]string{}, Env: strings.Split(slurp(dir+"/environ"), "\x00")}
	for _, m := range statusLine.FindAllStringSubmatch(slurp(dir+"/status"), -1) {
		in.Status[m[1]] = m[2]
	}
	for _, m := range limitLine.FindAllStringSubmatch(slurp(dir+"/limits"), -1) {
		in.Limits[m[1]] = m[2] + " " + m[3]
	}
	in.OOM = slurp(dir + "/oom_score_adj")
	in.Cgroup = slurp(dir + "/cgroup")
	in.MountNS, _ = os.Readlink(dir + "/ns/mnt")
	in.Stdin, _ = os.Readlink(dir + "/fd/0")
	in.Dir, _ = os.Readlink(dir + "/cwd")
	stat := slurp(dir + "/stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	in.Session = fields[3] == fmt.Sprint(pid)
	in.Nice, _ = strconv.Atoi(fields[16])
	return in
}

func slurp(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}
