package config

// matchKeys say which containers something is for.
func matchKeys() []key { k, _ := find(ruleKeys(), "match"); return k.keys }

const everyContainer = "Which containers, as in containers; all that is given must fit. Absent: every one."

func timeKeys(what string) []key {
	return []key{
		{name: "name", kind: text, check: word, required: true, doc: "What it is called: in " + what + "."},
		{name: "match", kind: block, keys: matchKeys(), doc: everyContainer},
		{name: "cron", kind: text, check: cronSpec, required: true, doc: "When, as in crontab: minute hour day-of-month month day-of-week; or @hourly, @daily, @weekly, @monthly."},
		{name: "time_zone", kind: text, check: timeZone, doc: "As in Europe/Madrid or UTC. Absent: that of the host. When its clocks change, what is due in the hour that is skipped " +
			"comes at the change, and what is due in the hour that is repeated comes the first time only."},
	}
}

func windowKeys() []key {
	return append(timeKeys("status, incidents and the reason why nothing is done"),
		key{name: "duration", kind: duration, low: minute, high: 30 * day, required: true, doc: "How long it stays open, in time that passes."})
}

func jobs() []string { return []string{"backup", "start", "stop", "restart"} }

func scheduleKeys() []key {
	return append(timeKeys("status, the journal and alerts"), []key{
		{name: "do", kind: choice, of: jobs(), required: true, doc: "What is done. backup: by the engine, where it makes backups (docs/engines.md), or by command. " +
			"stop: it is not wanted any more, until a start or `atalaya want`. start: it is wanted again, and started. restart: if it runs. Nothing is done in a mode below heal, on hold, while " +
			"an operation holds it or while it has an incident: then it waits until its next time at most, and that is said."},
		{name: "jitter", kind: duration, def: "0s", high: day, doc: "Each container's time comes later by some part of this, always the same."},
		{name: "catch_up", kind: choice, def: "no", of: []string{"yes", "no"}, doc: "Whether what was due while no agent was at work is done, once, when there is one again."},
		{name: "limit", kind: duration, low: second, high: 30 * day, doc: "How long a backup or a stop may take; then it has failed. Nothing is killed. Absent: 6h for a backup, stop_timeout for a stop."},
		{name: "overdue_after", kind: duration, low: minute, high: 366 * day, doc: "backup: without a good one for so long, by whomever, it is an incident. Absent: only one that fails is."},
		{name: "command", kind: texts, check: argument, doc: "backup: what makes it instead of the engine; a program and its arguments, without a shell, in which {{.ID}}, {{.Name}} and {{.Limit}} (seconds) are filled in. Exit 0 is a good one. " +
			"Needed where the engine makes no backups, as docker, podman and libvirt."},
	}...)
}

const windowExample = `windows:
  - name: patchday
    cron: "0 2 * * sun"
    duration: 3h
    time_zone: Europe/Madrid
  - name: db-tuning
    match: {name: "db*"}
    cron: "30 22 1 * *"
    duration: 90m
`

const scheduleExample = `schedules:
  - name: nightly
    do: backup
    match: {engine: lxc}
    cron: "30 1 * * *"
    jitter: 1h
    catch_up: yes
    overdue_after: 26h
  - name: shop-dump
    do: backup
    match: {engine: docker, name: shop}
    cron: "@daily"
    command: [/usr/local/sbin/dump-shop, "{{.ID}}"]
  - {name: evening, do: stop, match: {name: "demo*"}, cron: "0 20 * * mon-fri"}
  - {name: morning, do: start, match: {name: "demo*"}, cron: "0 7 * * mon-fri"}
`
