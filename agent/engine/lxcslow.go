package engine

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"atalaya/agent/health"
)

// The degraded path. One hung monitor, hook or lock hangs every lxc-ls for ever; lxc-info of the others still answers.

// stillSlow asks again those that did not answer, and tells whether one of them still does not. Those that are gone are
// forgotten.
func (l *lxc) stillSlow(ctx context.Context, folders map[string]lxcFolder) bool {
	l.mu.Lock()
	for name := range l.slow {
		if _, ok := folders[name]; !ok && l.known[name] == nil {
			delete(l.slow, name)
		}
	}
	names := sortedKeys(l.slow)
	l.mu.Unlock()
	if len(names) == 0 {
		return false
	}
	l.askEach(ctx, names, slowWithin)
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.slow) > 0
}

// listSlowly lists without lxc-ls. First asks everyone who has a monitor, to find the culprit; later only those about
// whom something does not fit.
func (l *lxc) listSlowly(ctx context.Context, folders map[string]lxcFolder, first bool) Listing {
	running, known := lxcSockets(l.path)
	var ask []string
	l.mu.Lock()
	for name, f := range folders {
		_, slow := l.slow[name]
		e := l.entry(name, f)
		broken := e.state == health.Broken && e.fault == e.conf.mark // lxc-ls, which would name it, is silent
		fits := e.state != "" && l.settle(e, f, running[name], broken)
		if !slow && (!fits || !known || first && running[name]) {
			ask = append(ask, name)
		}
	}
	for name := range running {
		if _, defined := folders[name]; !defined && checkID(name) == nil {
			ask = append(ask, name)
		}
	}
	l.mu.Unlock()
	l.askEach(ctx, ask, slowWithin)
	l.mu.Lock()
	degraded := l.degraded()
	l.mu.Unlock()
	out := l.listing(folders, running)
	out.Degraded = degraded
	return out
}

// degraded names the culprits and marks them unknown. The caller holds mu.
func (l *lxc) degraded() string {
	if len(l.slow) == 0 {
		return fmt.Sprintf("lxc-ls gave no answer within %s, though each container answers: asked one by one with lxc-info", l.spec.Timeout)
	}
	var who []string
	for _, name := range sortedKeys(l.slow) {
		if e := l.known[name]; e != nil {
			e.state, e.detail = health.Unknown, l.slow[name]
		}
		who = append(who, fmt.Sprintf("%q (%s)", name, l.slow[name]))
	}
	return "lxc-ls hangs because of " + culprits(who) + ": the others are asked one by one with lxc-info"
}

// askEach asks with lxc-info, some at once, and takes in the answers. What failed otherwise than by silence is unknown
// until the next list.
func (l *lxc) askEach(ctx context.Context, names []string, within time.Duration) {
	askEach(names, func(name string) { l.askOne(ctx, name, within) })
}

func (l *lxc) askOne(ctx context.Context, name string, within time.Duration) {
	info, err := l.ask(ctx, name, within)
	f, _ := l.folder(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if info.gone {
		delete(l.known, name)
		return
	}
	e := l.entry(name, f)
	if err != nil {
		e.state, e.detail = health.Unknown, err.Error()
		return
	}
	e.learn(info, name, l)
}

// lxcSockets reads who has a monitor listening, from where lxc-ls itself reads it. It is not known where a path is so
// long that liblxc uses a digest of it instead.
func lxcSockets(path string) (running map[string]bool, known bool) {
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil || len(path) > 60 {
		return nil, false
	}
	return parseLXCSockets(b, path), true
}

// parseLXCSockets finds the names in lines that end with " @LXCPATH/NAME/command".
func parseLXCSockets(b []byte, path string) map[string]bool {
	running := make(map[string]bool)
	for line := range strings.Lines(string(b)) {
		_, rest, ok := strings.Cut(line, " @"+path+"/")
		name, ok2 := strings.CutSuffix(strings.TrimSuffix(rest, "\n"), "/command")
		if ok && ok2 && !strings.Contains(name, "/") {
			running[name] = true
		}
	}
	return running
}
