package engine

import (
	"strconv"
	"time"

	"atalaya/agent/health"
)

// evidence names what the engine has to tell about a container. Redacting is the reader's work: inspect has the
// environment, the log is the container's own.
func (o *oci) evidence(id string, _ health.Sighting) []Source {
	since := strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	// Podman prints nothing when it begins after --until (4.3.1); docker knows no other way to end.
	ends := "--stream=false"
	if o.name == "docker" {
		ends = "--until=" + strconv.FormatInt(time.Now().Add(time.Second).Unix(), 10)
	}
	out := []Source{
		{Name: o.name + "-inspect.json", Argv: o.argv(o.name, "inspect", "--type=container", "--", id), Volatile: true},
		{Name: o.name + "-logs.txt", Argv: o.argv(o.name, "logs", "--timestamps", "--tail=500", "--", id)},
		// what was told of it in the last hour: also who stopped it, and how often it ended
		{Name: o.name + "-events.txt", Argv: o.argv(o.name, "events", "--since="+since, ends, "--filter=container="+id)},
		{Name: o.name + "-ps.txt", Argv: o.argv(o.name, "ps", "--all", "--no-trunc", "--filter=id="+id), Volatile: true},
	}
	return append(out, Source{Name: o.name + "-info.txt", Argv: o.argv(o.name, "info")})
}
