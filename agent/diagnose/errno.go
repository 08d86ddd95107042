package diagnose

import (
	"fmt"
	"strings"

	"atalaya/agent/health"
)

// An errnoRule is what one error of the kernel means, by its words in the C locale, for one kind of object.
type errnoRule struct {
	words  string
	object []string // the line names one of these; empty: any object
	layer  string
	conf   string
	means  string
	cure   string
	retry  health.Tri
}

// errnoRules are general: they hold for every engine. The more special come first.
var errnoRules = []errnoRule{
	{"No space left on device", nil, Storage, High, "a file system on the host is full: its blocks, or its inodes (/run is one, too)",
		"Free space, and look at inodes as well: df -h, df -i.", health.No},
	{"Disk quota exceeded", nil, Storage, High, "its disk quota is used up", "Raise the quota, or free space below it.", health.No},
	{"Read-only file system", nil, Storage, High, "a file system it must write to is read-only, as after disk errors",
		"See the kernel's log for disk or file system errors, repair, and mount it writable.", health.No},
	{"Input/output error", nil, Storage, High, "the host's storage gives I/O errors", "See the kernel's log for the failing disk.", health.No},
	{"Structure needs cleaning", nil, Storage, High, "a file system of the host is damaged", "Check it with fsck, unmounted.", health.No},
	{"bad superblock", nil, Storage, High, "its file system image cannot be mounted", "Check it with fsck, unmounted.", health.No},
	{"Stale file handle", nil, Storage, High, "a network share it uses went away and came back as another", "Mount the share again.", health.Yes},
	{"Transport endpoint is not connected", nil, Storage, High, "the program behind one of its mounts has died", "Mount it again.", health.Yes},
	{"No such device", []string{"mount"}, Host, Medium, "the host's kernel does not know a file system that it mounts",
		"Load the kernel module of that file system, or boot the kernel that has it.", health.No},
	{"No such device", []string{"bridge", "veth", "ifindex", "network", "interface", "link"}, Network, Medium,
		"a network device it needs does not exist on the host", "Bring that device back.", health.No},
	{"Operation not supported", []string{"veth", "macvlan", "vlan", "bridge", "network"}, Host, Medium,
		"the host's kernel lacks a kind of network device it needs", "Load the module, or boot the kernel that has it.", health.No},
	{"Cannot allocate memory", nil, Host, Medium, "there was no memory for it, on the host or within its allocation",
		"Compare its memory limit and the host's free memory.", health.Yes},
	{"Resource temporarily unavailable", []string{"fork", "clone", "spawn", "process", "thread"}, Host, Medium,
		"no further process could be made: a process limit is reached", "Look at pids.max, and at the host's process limits.", health.Yes},
	{"Too many open files", nil, Host, Medium, "a limit of open files is reached on the host", "Raise the limit, and see who has so many open.", health.Yes},
	{"Device or resource busy", nil, Storage, Low, "something else still uses its disk or mount",
		"Find the user (fuser, lsof, losetup): a leftover mount or a half-ended operation.", health.Yes},
}

// byErrno judges by the kernel's error and the object it was about, innermost line first.
func byErrno(f Facts) (health.Verdict, bool) {
	for _, line := range f.words() {
		for _, r := range errnoRules {
			if strings.Contains(line, r.words) && names(line, r.object) {
				return health.Verdict{
					Layer: r.layer, Confidence: r.conf, RetryHelps: r.retry, Cure: r.cure,
					Sentence: fmt.Sprintf("%s because %s.", f.cannot(), r.means),
					Proof:    []string{"the engine's innermost words: " + quoted(line) + f.in(FactEngine)},
					Disproof: fmt.Sprintf("The same operation by hand does not end with %q.", r.words),
				}, true
			}
		}
	}
	return health.Verdict{}, false
}

func names(line string, objects []string) bool {
	low := strings.ToLower(line)
	for _, o := range objects {
		if strings.Contains(low, o) {
			return true
		}
	}
	return len(objects) == 0
}
