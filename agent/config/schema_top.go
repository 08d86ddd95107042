package config

import "time"

// schema is the whole table, in the order of the documents.
func schema() []key {
	return []key{
		{name: "host", kind: block, doc: "How the receivers of alerts know this machine, beside its host name.", keys: []key{
			{name: "site", kind: text, check: oneLine, doc: "The place, rack or customer this host belongs to."},
		}},
		{name: "mode", kind: choice, def: "heal", of: modes(), doc: "The most that the agent does, for any container: " +
			"observe records incidents and does nothing else, alert also tells, heal also starts and restarts. " +
			"A container may be set lower, never higher."},
		{name: "poll", kind: duration, def: "10s", low: second, high: hour, doc: "How often every engine is asked for its containers."},
		{name: "poll_held", kind: duration, def: "60s", low: second, high: hour, doc: "How often instead, where the kernel " +
			"holds every known init process and the folder of the instance is unchanged. Not shorter than poll."},
		{name: "engines", kind: list, def: "[]", keys: engineKeys(), example: engineExample, doc: "The installations of " +
			"engines to watch. Empty: what is found on this host."},
		{name: "defaults", kind: block, keys: settingKeys(), doc: "What holds for every container of which the rules below say nothing else."},
		{name: "containers", kind: list, def: "[]", keys: ruleKeys(), example: ruleExample, doc: "Rules for some containers. " +
			"Every rule that matches counts, in the order of the file: of two that set the same key, the later wins. " +
			"See `atalaya config show NAME`."},
		{name: "windows", kind: list, def: "[]", keys: windowKeys(), example: windowExample, doc: "Maintenance windows. While one is open nothing is " +
			"started or restarted, and what fails is recorded, and told only when it outlasts the window. See docs/schedules.md."},
		{name: "schedules", kind: list, def: "[]", keys: scheduleKeys(), example: scheduleExample, doc: "What is to be done to containers at certain times. See docs/schedules.md."},
		{name: "probes", kind: list, def: "[]", keys: probeKeys(), example: probeExample, doc: "Definitions of probes, for use " +
			"by name in defaults and containers. A definition alone checks nothing."},
		{name: "channels", kind: list, def: "[]", keys: channelKeys(), example: channelExample, doc: "Where alerts go."},
		{name: "evidence", kind: block, keys: evidenceKeys(), doc: "The sealed evidence of incidents."},
		{name: "store", kind: block, keys: storeKeys(), doc: "The database of states, journal, incidents and undelivered alerts."},
		{name: "web", kind: block, doc: "Metrics and health of the agent, over HTTP.", keys: []key{
			{name: "listen", kind: text, def: "127.0.0.1:9745", check: listenAddress, doc: "Address and port of /metrics, " +
				"/healthz and /readyz, or off."},
		}},
		{name: "control", kind: block, doc: "The socket that the commands of atalaya talk to.", keys: []key{
			{name: "socket", kind: text, def: "/run/atalaya/control.sock", check: socketPath, doc: "Path of the socket."},
			{name: "group", kind: text, def: "atalaya", check: word, doc: "The group that may give orders, beside root."},
		}},
		{name: "limits", kind: block, keys: limitKeys(), doc: "What the agent does at most at once, on the whole host."},
		{name: "host_wide", kind: block, doc: "When failures of several containers are one incident of the host, which is told once. Then what has " +
			"died is started, and what only fails is restarted after another look, within limits.restarts.", keys: []key{
			{name: "least", kind: whole, def: "3", low: 2, high: 100000, doc: "So many containers at least."},
			{name: "share", kind: whole, def: "30", low: 1, high: 100, doc: "And so many percent of those that are watched."},
			{name: "canaries", kind: texts, check: hostAndPort, doc: "Addresses of the world, host:port, that are asked after a failure behind a gateway: when none of them answers, this host is cut off, " +
				"and the failure says nothing. Without them only the state of the uplink, the route and the gateway counts. Nothing else is ever asked of the world."},
			{name: "within", kind: duration, def: "20s", low: second, high: hour, doc: "That began to fail within this time: two periods of a probe."},
		}},
		{name: "housekeeping", kind: text, def: "17 4 * * *", check: cronSpec, doc: "When old records and bundles are removed: " +
			"minute, hour, day of month, month, day of week, in the time zone of the host; or @daily, @every 6h."},
		{name: "log", kind: block, doc: "The agent's own log, on its standard error.", keys: []key{
			{name: "level", kind: choice, def: "info", of: []string{"debug", "info", "warn", "error"}, doc: "The least important lines that are written."},
			{name: "format", kind: choice, def: "auto", of: []string{"auto", "text", "json"}, doc: "auto is text on a terminal, else json."},
		}},
	}
}

const (
	milli  = int64(time.Millisecond)
	second = int64(time.Second)
	minute = int64(time.Minute)
	hour   = int64(time.Hour)
	day    = 24 * hour
	year   = 366 * day
	mib    = int64(1 << 20)
	tib    = int64(1 << 40)
)

func evidenceKeys() []key {
	return []key{
		{name: "dir", kind: text, def: "/var/lib/atalaya/evidence", check: absolute, doc: "Folder of the bundles."},
		{name: "before", kind: duration, def: "300ms", high: 30 * second, doc: "How long an action waits, at most, for the evidence it would destroy. 0s: not at all."},
		{name: "after", kind: duration, def: "2s", high: 5 * minute, doc: "How long evidence is gathered beside and after an action before the bundle is sealed. With 0s for both, no evidence is taken."},
		{name: "max_age", kind: duration, def: "90d", low: hour, high: 20 * year, doc: "Bundles of resolved incidents are removed when they are older."},
		{name: "max_bytes", kind: size, def: "2GiB", low: mib, high: 1024 * tib, doc: "Bundles of resolved incidents are removed, the oldest first, when all are larger together."},
		{name: "level", kind: whole, def: "1", high: 9, doc: "How hard bundles are compressed, from 0 (not) to 9 (slowly)."},
	}
}

func storeKeys() []key {
	return []key{
		{name: "dir", kind: text, def: "/var/lib/atalaya", check: absolute, doc: "Folder of the database."},
		{name: "max_age", kind: duration, def: "90d", low: hour, high: 20 * year, doc: "Journal and resolved incidents are removed when they are older."},
		{name: "max_bytes", kind: size, def: "512MiB", low: mib, high: 1024 * tib, doc: "Journal and resolved incidents are removed, the oldest first, when the database is larger."},
	}
}

func limitKeys() []key {
	return []key{
		{name: "starts", kind: whole, def: "2", low: 1, high: 1000, doc: "Attempts under way at once."},
		{name: "restarts", kind: whole, def: "10", low: 0, high: 10000, doc: "Restarts of running but sick containers within restarts_window."},
		{name: "restarts_window", kind: duration, def: "10m", low: second, high: day, doc: "See restarts."},
		{name: "probes", kind: whole, def: "64", low: 1, high: 10000, doc: "Probes under way at once."},
		{name: "backups", kind: whole, def: "1", low: 1, high: 1000, doc: "Scheduled backups under way at once."},
	}
}
