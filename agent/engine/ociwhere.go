package engine

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// Which daemon, service or storage an instance of docker or podman is.

// dockerSocket is where docker's daemon listens by itself. It is named also where nothing is configured: the client would
// follow DOCKER_HOST, or a context of root's, to another host, and nothing here can be held against what that says.
const dockerSocket = "unix:///var/run/docker.sock"

// CheckSocket says why s cannot be the socket of a daemon or service: docker's --host, podman's --url. What is reached by
// TCP or ssh may be on another host, whose pids would be taken for this one's.
func CheckSocket(s string) error {
	u, err := url.Parse(s)
	switch {
	case err == nil && slices.Contains([]string{"tcp", "http", "https", "ssh", "npipe", "fd"}, u.Scheme):
		return fmt.Errorf("%q may be on another host: give a socket of this one, as unix:///run/other.sock, and ssh: user@host where it is another", s)
	case err != nil || u.Scheme != "unix" || u.Host != "" || !filepath.IsAbs(u.Path) || u.Path == "/" || u.RawQuery+u.Fragment != "" || strings.ContainsAny(s, " \t\n\"'\\"):
		return fmt.Errorf("%q is no socket: give its absolute path, as unix:///run/other.sock", s)
	case len(u.Path) > 107: // with the NUL at its end: unix(7)
		return fmt.Errorf("%q has %d bytes, and the kernel takes 107 for a socket", s, len(u.Path))
	}
	return nil
}

// hasOption tells whether args hold --name=value or --name.
func hasOption(args []string, name string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == "--"+name || strings.HasPrefix(a, "--"+name+"=") })
}

// podmanUsers names, by their numbers, the users of this host who have podman running now, besides root.
func (o *oci) podmanUsers() (who []string) {
	dirs, _ := filepath.Glob(o.file("/run/user/*/libpod"))
	for _, d := range dirs {
		if uid := filepath.Base(filepath.Dir(d)); uid != "0" {
			who = append(who, uid)
		}
	}
	return who
}

// podmanBlind is what is not seen.
func (o *oci) podmanBlind(service bool) []string {
	if service {
		return []string{
			"Podman is asked through its service: while that does not answer, nothing is known.",
			"A container whose conmon was killed and whose end podman missed cannot be healed through the service, only be told of: podman rm --force.",
			"A user's own (rootless) containers mostly have no address that this host reaches: probe the ports that they publish.",
		}
	}
	rootless := "Containers of other users than root (rootless) are not seen: each such user takes an instance of its own, by url."
	if who := o.podmanUsers(); len(who) > 0 && !o.far() {
		rootless += " Now these users run podman: " + strings.Join(who, ", ") + "."
	}
	return []string{
		rootless,
		"A container whose conmon was killed runs on, but podman does not notice its end: the agent does, by the process.",
	}
}
