package diagnose

import "strings"

// An object is what an error of the kernel was about. The same errno means another layer for each: "no such file" of an
// init program is the guest's, of a disk image the storage's, of a daemon's socket the engine's.
type object string

// The objects.
const (
	aDaemon  object = "daemon"  // the engine's own service
	aListen  object = "listen"  // a port or address of the host
	anInit   object = "init"    // the program that the container is to run
	aCgroup  object = "cgroup"  // a control group
	aWatch   object = "watch"   // an inotify watch
	aKeyring object = "keyring" // a kernel keyring
	aNetDev  object = "netdev"  // a network device, bridge, namespace, or rule
	anImage  object = "image"   // a disk, a file system, a mount
	aSetting object = "setting" // a configuration, profile, hook or script
	aFork    object = "fork"    // another process
	aDevice  object = "device"  // a device file
	aFile    object = "file"    // a path, and no more is known
	aThing   object = "thing"   // nothing is known
)

// objects are how each is recognised, in small letters; the first that fits decides, so the most telling come first.
var objects = []struct {
	is    object
	words []string
}{
	{aDaemon, []string{"unix.socket", ".sock", "dial unix", "docker daemon", "the hypervisor", "libvirtd", "connect to the"}},
	{aListen, []string{"listen tcp", "listen udp", "failed to listen", "bind for ", ": bind:", "bind socket", "listening socket", "vnc"}},
	{aCgroup, []string{"cgroup", "cpuset", "memory.max", "pids.max"}},
	{aWatch, []string{"inotify"}},
	{aKeyring, []string{"keyring"}},
	{anInit, []string{`exec: "`, "failed to exec", "exec user process", "init path", "/sbin/init", "entrypoint", "start init", "execve", `exec "`}},
	{aNetDev, []string{
		"bridge", "veth", "macvlan", "ipvlan", "vlan", "ifindex", "netlink", "netns", "network", "interface", " tap", "/net/tun", "iptables",
		"nftables", "netavark", "ip link", "ip addr", "unable to add ip", "mtu", "qdisc", " nic ", " link",
	}},
	{aSetting, []string{"config", "profile", "seccomp", "policy", "hook", "script", ".xml", "template", "apparmor"}},
	{anImage, []string{
		"rootfs", "root file system", "image", "storage", "volume", "overlay", "lowerdir", "mount", "private area", "qcow", ".img", ".raw",
		".hdd", "superblock", "logical vol", "dataset", "pool", "disk", "/dev/mapper", "/dev/loop", "/dev/sd", "/dev/nvme", "/dev/zvol", "/dev/vg", "rbd", "nfs",
	}},
	{aFork, []string{"fork", "clone", "spawn", "process", "thread"}},
	{aDevice, []string{"/dev/"}},
	{aFile, []string{"/"}},
}

// objectOf tells what a line is about, once the words of its errno are taken out. The line is in small letters.
func objectOf(line, errno string) object {
	rest := strings.ReplaceAll(line, errno, " ")
	for _, o := range objects {
		for _, w := range o.words {
			if strings.Contains(rest, w) {
				return o.is
			}
		}
	}
	return aThing
}
