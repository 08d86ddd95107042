package diagnose

import (
	"fmt"
	"regexp"
	"strconv"

	"atalaya/agent/health"
)

// stamp is what the kernel puts before its lines, as klogctl gives them: "<6>[  123.456789] ", with the thread or
// processor since Linux 5.
var stamp = regexp.MustCompile(`^(?:<(\d+)>)?(?:\[\s*\d+\.\d+\] ?)?(?:\[\s*[TC]\d+\] ?)?`)

// genuine gives the lines that the kernel itself wrote, without their stamps. The number before a line is its priority,
// and facility 0 is the kernel's: what a process writes to /dev/kmsg, as a container may that has it, cannot have it
// (kernel/printk/printk.c, devkmsg_write). Whoever could forge such a line could blame anybody.
func genuine(lines []string) []string {
	var out []string
	for _, line := range lines {
		m := stamp.FindStringSubmatchIndex(line)
		if m[2] >= 0 {
			if priority, err := strconv.Atoi(line[m[2]:m[3]]); err != nil || priority >= 8 {
				continue
			}
		}
		out = append(out, line[m[1]:])
	}
	return out
}

// byKernel looks the kernel's lines up in the table: those that name the container, and those of the host at that time.
func byKernel(f Facts) (health.Verdict, bool) {
	v, _, ok := f.kernel("")
	return v, ok
}

// kernel gives the verdict of the kernel's lines, only that of signatures that lie beneath a layer if one is given. The
// table's order decides, root before symptom; of one signature, the latest line.
func (f Facts) kernel(beneath string) (health.Verdict, signature, bool) {
	own, host := genuine(f.Kernel), genuine(f.Host)
	for _, s := range table() {
		if s.from != FactKernel || beneath != "" && s.explains != beneath {
			continue
		}
		if v, ok := f.kernelLine(s, own, true); ok {
			return v, s, true
		}
		if v, ok := f.kernelLine(s, host, false); ok {
			return v, s, true
		}
	}
	return health.Verdict{}, signature{}, false
}

// kernelLine looks for one signature in some lines. own says that they name the container.
func (f Facts) kernelLine(s signature, lines []string, own bool) (health.Verdict, bool) {
	for i := len(lines) - 1; i >= 0; i-- {
		at := s.match.FindStringSubmatchIndex(lines[i])
		if at == nil {
			continue
		}
		named, mine := f.attributed(s, lines[i], at)
		if named && !mine || s.layer == Guest && !named && !own || !f.fits(s, own || named) {
			continue
		}
		v := s.verdict(f, lines[i], at)
		if !own && !named {
			v.Sentence = fmt.Sprintf("%s, and at that time the log of the host's kernel says that %s.", f.cannot(), fill(s.because, lines[i], at))
			v.Confidence = f.coincidence(v.Confidence)
		}
		return v, true
	}
	return health.Verdict{}, false
}

// attributed says whether the line names a container, and whether it is this one.
func (f Facts) attributed(s signature, line string, at []int) (named, mine bool) {
	group := func(n int) string { return line[at[2*n]:at[2*n+1]] }
	switch {
	case s.cgroup > 0:
		return true, f.Cgroup != "" && within(group(s.cgroup), f.Cgroup)
	case s.id > 0:
		return true, group(s.id) == f.Sighting.Ref.ID
	}
	return false, false
}

// fits says that a line of the host may have to do with the failure: what works from inside has no trouble but the
// network's, and what befalls one of many alone is not the whole host's.
func (f Facts) fits(s signature, ours bool) bool {
	switch {
	case ours:
		return true
	case f.Inside == health.Pass:
		return s.explains == Network
	case f.Siblings.Total >= 3 && f.Siblings.Failing == 0:
		return s.explains == Storage
	}
	return true
}

// coincidence is how sure a verdict is that rests on a line of the whole host: that something happened at the same time
// proves less than that it happened to this container, unless it happened to all of them.
func (f Facts) coincidence(conf string) string {
	switch {
	case f.Siblings.all():
		return conf
	case f.Siblings.Total >= 3 && f.Siblings.Failing == 0:
		return Low
	case conf == High:
		return Medium
	}
	return conf
}

// beneath goes below a verdict that the engine's words gave: what the kernel says of the same layer at the same time is
// the cause of what the engine met.
func beneath(f Facts, v health.Verdict) health.Verdict {
	if v.Layer != Storage && v.Layer != Network && v.Layer != Host {
		return v
	}
	k, _, ok := f.kernel(v.Layer)
	if !ok || k.Sentence == v.Sentence {
		return v
	}
	if v.Confidence != Low {
		k.Confidence = v.Confidence // the engine met it: it is no coincidence
	}
	k.Proof = append(k.Proof, v.Proof...)
	return k
}
