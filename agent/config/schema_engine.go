package config

import (
	"atalaya/agent/engine"
	"atalaya/agent/health"
)

// engineKeys are those of one installation of an engine.
func engineKeys() []key {
	custom := []string{"custom"}
	argv := func(name, doc string) key {
		return key{name: name, kind: texts, only: custom, check: argument, doc: doc}
	}
	path := func(name, doc string) key {
		return key{name: name, kind: text, check: oneLine, doc: doc}
	}
	return []key{
		{name: "engine", kind: choice, required: true, of: engine.Names(), doc: "The engine; custom is one that is described here."},
		{name: "name", kind: text, check: word, doc: "What this instance is called. One per engine may have no name."},
		{name: "path", kind: text, check: absolute, only: []string{"lxc", "lxd", "incus"}, doc: "lxc: the lxcpath; absent: the one of lxc.conf, /var/lib/lxc. lxd, incus: the folder of the daemon; absent: its own, such as /var/lib/lxd."},
		{name: "uri", kind: text, check: engine.CheckURI, only: []string{"libvirt"}, doc: "The connection, such as qemu:///system or lxc:///. Absent: qemu:///system."},
		{name: "host", kind: text, check: engine.CheckSocket, only: []string{"docker"}, doc: "The socket of the daemon, as docker takes it with --host: unix:///run/other.sock. Absent: unix:///var/run/docker.sock."},
		{name: "url", kind: text, check: engine.CheckSocket, only: []string{"podman"}, doc: "The socket of a podman service, as podman takes it with --url, such as that of a user's own (rootless) containers: " +
			"unix:///run/user/1000/podman/podman.sock. Absent: podman is called as root, without a service."},
		{name: "root", kind: text, check: absolute, only: []string{"podman"}, doc: "Another storage of root's, as podman takes it with --root. Absent: the one of storage.conf."},
		{name: "runroot", kind: text, check: absolute, only: []string{"podman"}, doc: "Where that storage keeps what goes with a reboot, as podman takes it with --runroot. Required with root."},
		{name: "bin", kind: text, check: absolute, only: engine.WithBin(), doc: "The folder of the tool's commands. Absent: they are looked up where this system keeps commands."},
		{name: "ssh", kind: text, check: engine.CheckSSH, only: engine.OverSSH(), doc: "user@host, or ssh://user@host:port, where it is on another host that the agent reaches " +
			"by the OpenSSH client: its containers are polled, and nothing is known of their deaths in between. The key must work without " +
			"a passphrase, and the host's key must be known."},
		{name: "ssh_config", kind: text, check: absolute, only: engine.OverSSH(), doc: "A configuration file for that client (ssh -F): port, keys, known hosts. " +
			"Absent: those of the user that the agent runs as, and of the system."},
		{name: "timeout", kind: duration, def: "20s", low: second, high: 10 * minute, doc: "How long its list may take; after that there is no observation."},
		argv("list", "The command that prints all containers: an argv, never a shell. Required."),
		argv("start", "The command that starts one: {{.ID}}, {{.Name}} and {{.Limit}} (whole seconds) are filled in."),
		argv("stop", "The command that asks one to shut down."),
		argv("kill", "The command that ends one at once."),
		argv("restart", "The command that restarts one; absent: stop, then start."),
		argv("exec", "The command that runs another inside of one; the other's argv is appended."),
		argv("repair", "The command that mends what a death leaves behind, and destroys no data."),
		argv("unlock", "The command that takes away a lock that was left over."),
		argv("backup", "The command that makes a backup of one, where its tool keeps it."),
		argv("logs", "The command that prints what one said last, for the evidence."),
		{name: "json", kind: block, only: custom, doc: "Where the list is JSON: dotted paths to what is needed. Either this or line.", keys: []key{
			path("items", "To the array of containers; absent: the document is the array."),
			path("id", "Within one item: its id."),
			path("name", "Its name; absent: the id."),
			path("state", "Its state."),
			path("pid", "The pid of its init process on the host."),
			path("addresses", "Its addresses."),
			path("autostart", "Whether it starts with the host."),
			path("mark", "The engine's UUID or creation mark: with another one it is another container."),
		}},
		{name: "line", kind: text, only: custom, check: pattern, doc: "Where the list is lines: a regular expression with the groups id, name, state, pid, addr, autostart, mark."},
		{name: "states", kind: list, only: custom, doc: "What the engine's words for states mean.", keys: []key{
			{name: "word", kind: text, required: true, check: oneLine, doc: "The engine's word."},
			{name: "state", kind: choice, required: true, doc: "What it means.", of: []string{
				string(health.Running), string(health.Stopped), string(health.Paused), string(health.Busy),
				string(health.Broken), string(health.Unknown),
			}},
		}},
	}
}

const engineExample = `engines:
  - engine: lxc
  - {engine: lxc, name: backup, path: /srv/lxc}
  - {engine: docker, name: build, host: unix:///run/docker-build.sock}
  - {engine: podman, name: anna, url: unix:///run/user/1000/podman/podman.sock}
  - engine: custom
    name: jails
    list: [jailctl, list]
    line: '^(?P<id>\S+) +(?P<state>\S+) +(?P<pid>\d+)$'
    states: [{word: UP, state: running}, {word: DOWN, state: stopped}]
    start: [jailctl, start, "{{.ID}}"]
    stop: [jailctl, stop, "{{.ID}}"]
    kill: [jailctl, kill, "{{.ID}}"]
`
