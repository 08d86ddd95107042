package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// A CustomSpec teaches the agent a tool that it does not know: command lines, and how to read the list. Each element of a
// command line is one argument, in which {{.ID}}, {{.Name}} and {{.Limit}} (whole seconds) are filled in; there is no
// shell.
type CustomSpec struct {
	List, Start, Stop, Kill, Restart, Exec []string
	Repair, Unlock, Backup, Logs           []string

	JSON   *CustomJSON                // the list is JSON
	Line   string                     // or: a regexp with named groups id, name, state, pid, addr, autostart, mark; one container a line
	States map[string]health.RunState // the engine's words; case matters
}

// A CustomJSON says where things are in the JSON that the list prints, by dotted paths: "status.state", "Names.0". Empty
// paths are not looked up. Without Items the document is an array of containers, or one container a line.
type CustomJSON struct {
	Items     string // path of the array
	ID        string // required; a string or a whole number
	Name      string
	State     string // required
	PID       string
	Addresses string // a string, of one or more, or an array
	Autostart string
	Mark      string // the engine's UUID: another one is another container
}

// custom is one opened instance of such a tool.
type custom struct {
	spec  Spec
	run   Runner
	list  template
	read  func(stdout []byte) ([]customRow, error)
	notes notes
	lines map[health.Verb]template // of what changes a container

	mu    sync.Mutex
	names map[string]string // by id, of the last list
}

// A customRow is one container as the tool prints it.
type customRow struct {
	id, name, state, pid, autostart, mark string
	addrs                                 []string
}

func openCustom(s Spec, r Runner) (*tool, error) {
	if s.Custom == nil {
		return nil, errors.New("custom: missing: give at least list, states, and json or line")
	}
	u := s.Custom
	c := &custom{spec: s, run: r, names: map[string]string{}, lines: map[health.Verb]template{}}
	list, err := parseTemplate("custom.list", u.List)
	switch {
	case err != nil:
		return nil, err
	case list == nil:
		return nil, errors.New("custom.list: missing: give the command that lists all containers, running or not")
	case list.uses("ID") || list.uses("Name") || list.uses("Limit"):
		return nil, errors.New("custom.list: holds {{…}}: one list answers for all containers, give it without")
	}
	c.list = list
	if c.read, err = customReader(u); err != nil {
		return nil, err
	}
	if err := checkStates(u.States); err != nil {
		return nil, err
	}
	t := &tool{facts: facts{intent: "autostart, as the list is read", cause: "the last words of the command"}, verbs: map[health.Verb]verb{}, checkID: checkID, list: c.listAll, look: c.look, defined: func(string) bool { return true }}
	if err := c.orders(t); err != nil {
		return nil, err
	}
	t.meaning, t.files = c.meaning, customFiles(c.lines)
	if err := c.reads(t); err != nil {
		return nil, err
	}
	return t, nil
}

// orders takes in the command lines that change a container.
func (c *custom) orders(t *tool) error {
	u := c.spec.Custom
	for _, v := range []struct {
		verb  health.Verb
		argv  []string
		limit time.Duration
	}{
		{health.VerbStart, u.Start, 2 * time.Minute}, {health.VerbStop, u.Stop, time.Minute},
		{health.VerbKill, u.Kill, 30 * time.Second}, {health.VerbRestart, u.Restart, 3 * time.Minute},
		{health.VerbRepair, u.Repair, 2 * time.Minute}, {health.VerbUnlock, u.Unlock, 30 * time.Second},
		{health.VerbBackup, u.Backup, 6 * time.Hour},
	} {
		line, err := aboutOne("custom."+string(v.verb), v.argv)
		if err != nil {
			return err
		}
		if line == nil {
			continue
		}
		c.lines[v.verb] = line
		t.verbs[v.verb] = verb{argv: c.argv(line), limit: v.limit, slack: 10 * time.Second, read: readCustomAnswer}
	}
	return nil
}

// reads takes in those that only read.
func (c *custom) reads(t *tool) error {
	exec, err := aboutOne("custom.exec", c.spec.Custom.Exec)
	if err != nil {
		return err
	}
	if exec != nil {
		t.exec = func(id string, argv []string) ([]string, error) {
			head, err := c.argv(exec)(call{id: id})
			return append(head, argv...), err
		}
	}
	logs, err := aboutOne("custom.logs", c.spec.Custom.Logs)
	if err != nil || logs == nil {
		return err
	}
	t.logs = func(id string) []Source {
		s := Source{Name: "log.txt", Shows: "what the container itself said last, by its tool", Tail: customLogTail, Volatile: true}
		argv, err := c.argv(logs)(call{id: id})
		if err != nil {
			return nil
		}
		s.Argv = argv
		return []Source{s}
	}
	t.evidence = func(id string, _ health.Sighting) []Source { return t.logs(id) }
	return nil
}

// customLogTail is how much is kept of a log's end, in bytes.
const customLogTail = 256 << 10

// aboutOne takes in a command line about one container; nil for an empty one.
func aboutOne(key string, argv []string) (template, error) {
	line, err := parseTemplate(key, argv)
	if err == nil && line != nil && !line.uses("ID") && !line.uses("Name") {
		err = fmt.Errorf("%s: names no container: put {{.ID}} where its id belongs", key)
	}
	return line, err
}

func checkStates(states map[string]health.RunState) error {
	known := []health.RunState{health.Running, health.Stopped, health.Paused, health.Busy, health.Broken, health.Unknown}
	for _, word := range sortedKeys(states) {
		if !slices.Contains(known, states[word]) {
			return fmt.Errorf("custom.states: %q: %q is no state: use one of %v", word, states[word], known)
		}
	}
	for _, s := range states {
		if s == health.Running {
			return nil
		}
	}
	return errors.New("custom.states: no word means running: add one, such as \"RUNNING: running\"")
}

func (c *custom) argv(line template) func(call) ([]string, error) {
	return func(k call) ([]string, error) {
		c.mu.Lock()
		name := c.names[k.id]
		c.mu.Unlock()
		if name == "" {
			name = k.id
		}
		return line.fill(fields{ID: k.id, Name: name, Limit: int(max(time.Second, k.limit).Seconds())})
	}
}

// listAll runs the list once.
func (c *custom) listAll(ctx context.Context, _ []health.Ref) (Listing, error) {
	argv, err := c.list.fill(fields{})
	if err != nil {
		return Listing{}, err
	}
	t := c.run.Read(ctx, hostexec.Command{Argv: argv, Timeout: c.spec.Timeout, MaxOut: maxList})
	if err := t.Err(); err != nil {
		return Listing{Notes: c.notes.take()}, err
	}
	if t.StdoutSize > int64(len(t.Stdout)) {
		return Listing{}, fmt.Errorf("%q printed %d bytes: not believed", argv[0], t.StdoutSize)
	}
	rows, err := c.read(t.Stdout)
	if err == nil {
		err = c.spec.Custom.plausible(rows)
	}
	if err != nil {
		return Listing{Notes: c.notes.take()}, fmt.Errorf("read what %q printed: %w", argv[0], err)
	}
	out := Listing{Containers: c.sightings(rows)}
	out.Notes = c.notes.take()
	return out, nil
}

// look runs the list and picks one: the tool is not known well enough for less. A container that is not listed is
// missing, which is not removed.
func (c *custom) look(ctx context.Context, id string, _ health.Process) (health.Sighting, error) {
	l, err := c.listAll(ctx, nil)
	if err != nil {
		return health.Sighting{}, err
	}
	for _, s := range l.Containers {
		if s.Ref.ID == id {
			return s, nil
		}
	}
	return health.Sighting{Ref: c.ref(id), Name: id, State: health.Missing, At: time.Now()}, nil
}

func (c *custom) ref(id string) health.Ref {
	return health.Ref{Engine: "custom", Instance: c.spec.Instance, ID: id}
}

// readCustomAnswer knows nothing of the tool: its last words are the innermost.
func readCustomAnswer(t hostexec.Transcript, _ []byte) Answer {
	var a Answer
	a.Already = alreadyRE.Match(t.Stdout) || alreadyRE.Match(t.Stderr)
	if err := t.Err(); err != nil {
		a.Err = err.Error()
		if a.Cause = lastLine(t.Stderr); a.Cause == "" {
			a.Cause = lastLine(t.Stdout)
		}
	}
	return a
}
