package engine

import (
	"strconv"
	"time"

	"atalaya/agent/health"
)

// ociLogTail is how much of a container's log is kept, in bytes.
const ociLogTail = 256 << 10

// evidence names what the engine has to tell about a container. Redacting is the reader's work: inspect has the
// environment, the log is the container's own.
func (o *oci) evidence(id string, _ health.Sighting) []Source {
	since := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	// Podman prints nothing when it begins after --until (4.3.1); docker knows no other way to end.
	ends := "--stream=false"
	if o.name == "docker" {
		ends = "--until=" + strconv.FormatInt(time.Now().Add(time.Second).Unix(), 10)
	}
	out := []Source{{Name: o.name + "-inspect.json", Argv: o.argv(o.name, "inspect", "--type=container", "--", id), Volatile: true}}
	return append(append(out, o.logs(id)...),
		// what was told of it in the last hour: also who stopped it, and how often it ended
		Source{Name: o.name + "-events.txt", Argv: o.argv(o.name, "events", "--since="+since, ends, "--filter=container="+id)},
		Source{Name: o.name + "-ps.txt", Argv: o.argv(o.name, "ps", "--all", "--no-trunc", "--filter=id="+id), Volatile: true},
		Source{Name: o.name + "-info.txt", Argv: o.argv(o.name, "info")})
}

// logs is what the container printed last, as its logging driver keeps it; nothing with the driver "none". Podman's own
// command takes minutes where a container printed one line without end, so its file is read, which only root can change.
func (o *oci) logs(id string) []Source {
	const shows = "what the container printed last"
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.known[id]; e != nil && e.in.Log != "" && !o.service { // a user can put a link in its place
		return []Source{{Name: o.name + "-logs.txt", Shows: shows, Path: o.file(e.in.Log), Tail: ociLogTail}}
	}
	return []Source{{Name: o.name + "-logs.txt", Shows: shows, Argv: o.argv(o.name, "logs", "--timestamps", "--tail=500", "--", id), Tail: ociLogTail}}
}
