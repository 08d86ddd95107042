package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// An Order is a command line of a person's own for one container: each element is one argument, in which {{.ID}}, {{.Name}}
// and {{.Limit}} (whole seconds) are filled in. There is no shell.
type Order struct{ line template }

// ParseOrder reads an Order; key names it in errors. One that names no container is refused.
func ParseOrder(key string, argv []string) (*Order, error) {
	line, err := parseTemplate(key, argv)
	switch {
	case err != nil:
		return nil, err
	case line == nil:
		return nil, fmt.Errorf("%s: is empty: give a program and its arguments", key)
	case !line.uses("ID") && !line.uses("Name"):
		return nil, fmt.Errorf("%s: names no container: put {{.ID}} or {{.Name}} where it belongs", key)
	}
	return &Order{line}, nil
}

// Run has a person's own command do what the verb says, as Do has the engine's: it is waited for at most limit and ten
// seconds, and never killed by force. It succeeds by its exit code alone.
func (i *Instance) Run(ctx context.Context, v health.Verb, o *Order, id, name string, limit time.Duration) Answer {
	if err := i.tool.checkID(id); err != nil {
		return failed(fmt.Sprintf("%s %s: %v", v, i.ref(id), err))
	}
	if o.line.uses("Name") && !wordRE.MatchString(name) {
		return failed(fmt.Sprintf("%s %s: its name %q may hold anything: use {{.ID}}", v, i.ref(id), name))
	}
	argv, err := o.line.fill(fields{ID: id, Name: name, Limit: int(max(time.Second, limit).Seconds())})
	if err != nil {
		return failed(fmt.Sprintf("%s %s: %v", v, i.ref(id), err))
	}
	op := hostexec.Op{ID: string(v) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36), Container: i.ref(id).String(), Verb: string(v)}
	t := i.run.Change(ctx, op, hostexec.Command{Argv: argv, Timeout: limit + 10*time.Second})
	a := readCustomAnswer(t, nil)
	a.Transcript, a.Already = t, false
	return a
}

// CanBackUp tells whether an engine makes backups by itself. An error says that its Spec cannot be opened here.
func CanBackUp(s Spec) (bool, error) {
	i, err := Open(s, nil, nil)
	if err != nil {
		return false, errors.Unwrap(err)
	}
	return i.Can(health.VerbBackup), nil
}
