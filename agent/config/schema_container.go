package config

import "atalaya/agent/engine"

func modes() []string { return []string{"observe", "alert", "heal"} }

// settingKeys are what defaults and every rule may set.
func settingKeys() []key {
	return []key{
		{name: "mode", kind: choice, def: "heal", of: modes(), doc: "How far the agent goes for this container; the mode of the whole agent is the upper bound."},
		{name: "want", kind: choice, def: "auto", of: []string{"auto", "yes", "no"}, doc: "Whether it should be running. auto asks the " +
			"engine: it is wanted when it starts with the host. A person's `atalaya want` and `unwant` come before auto."},
		{name: "probes", kind: list, def: "[]", short: true, keys: probeKeys(), doc: "Probes, by name or with keys of their own. They " +
			"add to those of defaults and of earlier rules; of the same name, the later keys win, and one with a kind replaces " +
			"the earlier one whole. An empty list clears them."},
		{name: "budget", kind: block, doc: "How often, and how fast, healing is tried.", keys: []key{
			{name: "attempts", kind: whole, def: "5", low: 1, high: 1000, doc: "Attempts within window; then it is exhausted: escalated, still watched, tried seldom."},
			{name: "window", kind: duration, def: "30m", low: second, high: 30 * day, doc: "See attempts."},
			{name: "delays", kind: times, def: "[5s, 20s, 80s, 320s]", low: 0, high: day, doc: "Before the second attempt, the third, and so on; the last one repeats. Each is varied by up to a quarter."},
			{name: "retry_min", kind: duration, def: "30m", low: second, high: 30 * day, doc: "Exhausted: until the first further attempt, doubling after each."},
			{name: "retry_max", kind: duration, def: "6h", low: second, high: 30 * day, doc: "Exhausted: the longest pause. Not shorter than retry_min."},
			{name: "forget", kind: duration, def: "15m", low: second, high: 30 * day, doc: "Healthy for so long, and the budget is fresh again."},
		}},
		{name: "defer_to_supervisor", kind: text, def: "60s", check: patience, doc: "How long another supervisor of this host, such as a restart policy or a unit, is given with a container that " +
			"fails; or never: then people are told, and it is left to that one. One that may start it on another host (Proxmox HA, shaman, Kubernetes, Swarm, Nomad) is never overruled."},
		{name: "repair", kind: truth, def: "true", doc: "After a start that failed, the engine's own safe cure comes before the next: it destroys no data. See docs/engines.md for which engine has one."},
		{name: "unlock", kind: choice, def: "never", of: []string{"never", "dead"}, doc: "Whether a lock that was left over is broken before a start, where the engine has a command for that: dead, where its holder lives no more."},
		{name: "lock_limits", kind: block, doc: "How old the lock of an operation may be until people are told of it, once. Nothing is broken because of its age.", keys: []key{
			{name: "backup", kind: duration, def: "6h", low: minute, high: 30 * day, doc: "Backups, dumps, exports and restores."},
			{name: "snapshot", kind: duration, def: "1h", low: minute, high: 30 * day, doc: "Snapshots, rollbacks and merges."},
			{name: "move", kind: duration, def: "2h", low: minute, high: 30 * day, doc: "Migrations, moves and clones."},
			{name: "other", kind: duration, def: "1h", low: minute, high: 30 * day, doc: "Everything else."},
		}},
		{name: "flapping", kind: block, doc: "When it is up and down too often, as Nagios judges it: of its last 21 states, taken with each change and every minute, how many differ from the " +
			"one before, the newer weighing more. Then it is not restarted any more, what has died is still started, and all of it is one incident, until it is steady.", keys: []key{
			{name: "high", kind: whole, def: "30", low: 0, high: 100, doc: "Percent at which it flaps. 0: that is not judged."},
			{name: "low", kind: whole, def: "20", low: 0, high: 100, doc: "Percent below which it does no more. Not above high."},
		}},
		{name: "stop_timeout", kind: duration, def: "60s", low: second, high: hour, doc: "How long a restart asks the guest to shut down before it kills; the engine's own limit where that is longer."},
		{name: "start_timeout", kind: duration, def: "3m", low: second, high: day, doc: "How long the engine may take to answer a start."},
		{name: "settle", kind: duration, def: "3s", high: hour, doc: "Without probes: running for so long after a start is recovered."},
		{name: "priority", kind: whole, def: "0", low: -1000, high: 1000, doc: "Of several that wait to be started or restarted, the one with the higher number comes first."},
		{name: "notify", kind: texts, check: word, doc: "Names of the channels its alerts go to. Absent: all of them. An empty list: none."},
	}
}

// ruleKeys are those of one rule of containers.
func ruleKeys() []key {
	match := key{name: "match", kind: block, required: true, doc: "Which containers; all that is given must fit.", keys: []key{
		{name: "engine", kind: choice, of: engine.Names(), doc: "The engine."},
		{name: "instance", kind: text, check: word, doc: "The name of the instance; default for the one without a name."},
		{name: "name", kind: names, check: glob, doc: "The name or the id of the container, with * ? and [a-z]; of several, one must fit."},
		{name: "tag", kind: names, check: glob, doc: "A tag that the engine gives it, with * ? and [a-z]; of several, one must fit. " +
			"Tenants may set tags, so a rule with tag can lower the mode and never raise it."},
	}}
	keys := append([]key{match}, settingKeys()...)
	for i := range keys {
		keys[i].def = "" // a rule that does not set a key says nothing about it
		for j := range keys[i].keys {
			if keys[i].kind == block {
				keys[i].keys[j].def = ""
			}
		}
	}
	return append(keys,
		key{name: "depends_on", kind: names, check: oneLine, doc: "Containers without which it cannot work, by name, or as ENGINE/ID where a name is not enough. " +
			"While one of them fails it is neither restarted nor told of, but listed in the alert about that one. Rules do not add up: the last one counts."},
		key{name: "ignore", kind: truth, def: "false", doc: "Neither watched nor shown."},
		key{name: "runbook", kind: text, check: oneLine, doc: "What to read or do when it fails; shown in every alert, a URL at best."},
	)
}

const ruleExample = `containers:
  - match: {name: "web*"}
    probes: [ping, {name: web, port: 8080}]
    runbook: https://wiki.example.net/web
  - match: {engine: lxc, name: [db1, db2]}
    want: yes
    stop_timeout: 5m
    priority: 10
  - match: {name: shop}
    depends_on: db1
  - match: {tag: customer}
    mode: alert
    notify: [customer-desk]
`
