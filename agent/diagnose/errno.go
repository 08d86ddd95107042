package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"atalaya/agent/health"
)

// An errnoRule is what one error of the kernel means for one kind of object, by its words in the C locale.
type errnoRule struct {
	words  string   // in small letters: tools in Go write them so, tools in C begin with a capital
	object []object // the line is about one of these; empty: about anything
	layer  string
	conf   string
	means  string
	cure   string
	retry  health.Tri
}

// byErrno judges by the kernel's error and the object it was about, innermost line first. It holds for every engine, and
// for messages that nobody has seen before.
func byErrno(f Facts) (health.Verdict, bool) {
	for _, line := range f.words() {
		if v, ok := f.errno(line); ok {
			return v, true
		}
	}
	return health.Verdict{}, false
}

// surely is byErrno where it is more than a guess.
func surely(f Facts) (health.Verdict, bool) {
	v, ok := byErrno(f)
	return v, ok && v.Confidence != Low
}

func (f Facts) errno(line string) (health.Verdict, bool) {
	low := strings.ToLower(line)
	for _, r := range errnoRules {
		if !strings.Contains(low, r.words) || len(r.object) > 0 && !slices.Contains(r.object, objectOf(low, r.words)) {
			continue
		}
		return health.Verdict{
			Layer: r.layer, Confidence: r.conf, RetryHelps: r.retry, Cure: r.cure,
			Sentence: fmt.Sprintf("%s because %s.", f.refused(), r.means),
			Proof:    []string{"the engine's innermost words: " + quoted(line) + f.in(FactEngine)},
			Disproof: fmt.Sprintf("The same operation by hand does not end with %q.", r.words),
		}, true
	}
	return health.Verdict{}, false
}

// names says that a text has one of some words in it.
func names(line string, words []string) bool {
	low := strings.ToLower(line)
	for _, w := range words {
		if strings.Contains(low, w) {
			return true
		}
	}
	return len(words) == 0
}

// of makes the list of objects of a rule.
func of(objects ...object) []object { return objects }

// errnoRules hold for every engine. The more special come first.
var errnoRules = []errnoRule{
	{"no space left on device", of(aWatch), Host, Medium, "the host's limit of inotify watches is used up", "Raise fs.inotify.max_user_instances and max_user_watches on the host.", health.Maybe},
	{"no space left on device", of(aCgroup), Host, Medium, "the host cannot give it the processors or control group that it asks for", "Compare its cpuset with the host's processors, and count the control groups (cgroup.max.descendants).", health.No},
	{"no space left on device", nil, Storage, High, "a file system on the host is full: its blocks, or its inodes (/run is one, too)",
		"Free space, and look at inodes as well: df -h, df -i.", health.No},
	{"disk quota exceeded", of(aKeyring), Host, High, "the host's limit of kernel keys is used up", "Raise kernel.keys.maxkeys and maxbytes on the host.", health.Maybe},
	{"disk quota exceeded", nil, Storage, High, "its disk quota is used up", "Raise the quota, or free space below it.", health.No},
	{"read-only file system", nil, Storage, High, "a file system it must write to is read-only, as after disk errors",
		"See the kernel's log for disk or file system errors, repair, and mount it writable.", health.No},
	{"input/output error", nil, Storage, High, "the host's storage gives I/O errors", "See the kernel's log for the failing disk.", health.No},
	{"remote i/o error", nil, Storage, High, "a remote disk of the host gives I/O errors", "See the kernel's log, and the server that the disk is on.", health.No},
	{"structure needs cleaning", nil, Storage, High, "a file system of the host is damaged", "Check it with fsck, unmounted.", health.No},
	{"bad superblock", nil, Storage, High, "its file system image cannot be mounted", "Check it with fsck, unmounted.", health.No},
	{"wrong fs type", nil, Storage, High, "its file system image cannot be mounted", "Check it with fsck, unmounted; see whether the host's kernel knows that kind of file system.", health.No},
	{"stale file handle", nil, Storage, High, "a network share it uses went away and came back as another", "Mount the share again.", health.Yes},
	{"stale nfs file handle", nil, Storage, High, "a network share it uses went away and came back as another", "Mount the share again.", health.Yes},
	{"transport endpoint is not connected", nil, Storage, High, "the program behind one of its mounts has died", "Mount it again.", health.Yes},
	{"host is down", nil, Storage, Medium, "the server of a share it uses does not answer", "See that server and the network to it.", health.Maybe},

	{"exec format error", nil, Guest, Medium, "the program it is to run is for another kind of processor, or is none", "Restore the program, or use an image for this processor.", health.No},
	{"no such file or directory", of(anInit), Guest, Medium, "the program it is to run (or the interpreter that needs) is missing in its file system",
		"Look into its root folder on the host: if it is empty, mount its storage; if the program is missing, restore it.", health.No},
	{"no such file or directory", of(aDaemon), Engine, High, "the engine's service on the host does not run", "Start the service (systemctl status names why it ended).", health.Yes},
	{"no such file or directory", of(aCgroup), Host, Medium, "the host's control groups are not as its virtualization software needs them",
		"See how they are mounted (findmnt -t cgroup,cgroup2): after an upgrade, version 1 and 2 differ.", health.No},
	{"no such file or directory", of(aNetDev), Network, Medium, "a network device it needs does not exist on the host", "Bring that device back.", health.No},
	{"no such file or directory", of(anImage), Storage, Medium, "a disk, folder or mount it needs is not there on the host",
		"See whether the disk or share that holds it is mounted; just after boot it may only be late.", health.Maybe},
	{"no such file or directory", of(aSetting), Engine, Medium, "a file that its configuration needs is missing on the host",
		"Restore the file named in the proof: it may belong to a package that was removed or upgraded.", health.No},
	{"no such file or directory", of(aDevice), Host, Medium, "a device it needs does not exist on the host", "Load the module that brings the device, or take it out of its configuration.", health.No},
	{"no such file or directory", of(aFile), Engine, Low, "a file it needs is missing on the host", "Restore the file named in the proof.", health.No},

	{"no such device or address", nil, Storage, Low, "a device it needs does not answer on the host", "See the kernel's log for that device.", health.No},
	{"no such device", of(anImage), Host, Medium, "the host's kernel does not know a file system that it mounts",
		"Load the kernel module of that file system, or boot the kernel that has it.", health.No},
	{"no such device", of(aNetDev), Network, Medium, "a network device it needs does not exist on the host", "Bring that device back.", health.No},
	{"no such device", nil, Host, Low, "a device it needs does not exist on the host", "See the kernel's log for that device, and whether its module is loaded.", health.No},
	{"operation not supported", of(aNetDev), Host, Medium, "the host's kernel lacks a kind of network device it needs",
		"Load the module, or boot the kernel that has it.", health.No},
	{"operation not supported", nil, Host, Low, "the host's kernel or file system cannot do what it needs", "Compare the kernel that runs with the one installed, and the file system below it.", health.No},
	{"function not implemented", nil, Host, Medium, "the host's kernel lacks something it needs", "Boot the kernel that has it.", health.No},
	{"protocol not supported", nil, Host, Medium, "the host's kernel lacks a network protocol it needs", "Load the module, or boot the kernel that has it.", health.No},
	{"address family not supported", nil, Host, Medium, "the host's kernel lacks a kind of network address it needs (IPv6 may be switched off)",
		"Enable it on the host, or take it out of its configuration.", health.No},
	{"cannot allocate memory", nil, Host, Medium, "there was no memory for it, on the host or within its allocation",
		"Compare its memory limit and the host's free memory.", health.Yes},
	{"no buffer space available", nil, Host, Medium, "a limit of network memory is reached, the host's or its own", "See which counter grew (beancounters, tcp_mem), and raise that limit.", health.Maybe},
	{"resource temporarily unavailable", of(aFork, anInit), Host, Medium, "no further process could be made: a process limit is reached",
		"Look at pids.max, and at the host's process limits.", health.Yes},
	{"too many open files", nil, Host, Medium, "a limit of open files is reached on the host", "Raise the limit, and see who has so many open.", health.Yes},

	{"permission denied", of(anInit), Guest, Medium, "the program it is to run cannot be executed", "Restore its mode; see whether its file system is mounted noexec.", health.No},
	{"permission denied", of(aDaemon), Engine, High, "the one who asked may not speak to the engine's service", "Ask as root, or as a member of the engine's group.", health.No},
	{"permission denied", of(anImage, aFile), Engine, Medium, "the host's virtualization software may not read or write what it needs",
		"Correct owner, mode and security label of what the proof names, and of the folders above it.", health.No},
	{"permission denied", of(aCgroup, aNetDev, aDevice), Host, Medium, "the host's security rules refuse what it needs", "See the denials in the kernel's log (AppArmor, SELinux), and the capabilities of the engine's service.", health.No},
	{"operation not permitted", of(aCgroup, aNetDev, aDevice, anImage), Host, Medium, "the host's kernel or security rules refuse what it needs",
		"See the denials in the kernel's log (AppArmor, SELinux), the capabilities of the engine's service, and whether the host is a container itself.", health.No},
	{"operation not permitted", nil, Host, Low, "the host refuses what it needs", "See the denials in the kernel's log of the host.", health.No},

	{"address already in use", of(aNetDev), Network, Medium, "its address is already given to something else on the host", "Find who has the address, and take it from one of the two.", health.No},
	{"address already in use", nil, Host, Medium, "a port or address of the host that it needs is taken by something else", "Find who has it (ss -ltnp), and free it.", health.No},
	{"cannot assign requested address", nil, Network, Medium, "it is to use an address that the host does not have (any more)", "Compare its configuration with the host's addresses (ip addr).", health.No},
	{"network is unreachable", nil, Network, Medium, "the host has no route to what it needs", "See the host's routes and links.", health.Maybe},
	{"no route to host", nil, Network, Medium, "the host cannot reach what it needs", "See the host's routes, links and neighbours.", health.Maybe},
	{"network is down", nil, Network, Medium, "a network link of the host is down", "Bring the link up.", health.Maybe},
	{"connection refused", of(aDaemon), Engine, High, "the engine's service on the host does not run", "Start the service (systemctl status names why it ended).", health.Yes},
	{"connection refused", nil, Network, Low, "a service that its start needs does not answer", "See which service the proof names, and start it.", health.Maybe},
	{"connection timed out", of(anImage), Storage, Medium, "a disk or share on the network does not answer", "See that server and the network to it.", health.Maybe},
	{"i/o timeout", nil, Network, Low, "something that its start needs on the network does not answer", "See what the proof names, and the network to it.", health.Maybe},
	{"connection timed out", nil, Network, Low, "something that its start needs on the network does not answer", "See what the proof names, and the network to it.", health.Maybe},

	{"device or resource busy", of(anImage, aThing, aFile, aDevice), Storage, Low, "something else still uses its disk or mount",
		"Find the user (fuser, lsof, losetup): a leftover mount or a half-ended operation.", health.Yes},
	{"device or resource busy", of(aNetDev), Network, Low, "a network device of the host is still used by something else", "See who has the device (ip -d link).", health.Yes},
	{"device or resource busy", nil, Host, Low, "something on the host is still used by what ended", "See what is left of its last life: processes, control groups, mounts.", health.Yes},
	{"file exists", nil, Engine, Low, "what is left on the host of its last life stands in the way", "Clean up what the proof names, once nothing uses it.", health.No},
	{"directory not empty", nil, Engine, Low, "what is left on the host of its last life stands in the way", "Clean up what the proof names, once nothing uses it.", health.No},
	{"not a directory", nil, Engine, Low, "a file is where a folder should be on the host, or the other way round", "See both ends of the mount that the proof names.", health.No},
}
