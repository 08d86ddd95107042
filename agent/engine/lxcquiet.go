package engine

import (
	"time"

	"atalaya/agent/health"
)

// quiet tells, with no process, that nothing has moved since lxc-ls last answered: the same folders with the same
// configurations, every running container held by the caller's pidfd, alive and with its monitor's socket, and no other
// socket. Of those that run it reads whether they are frozen.
func (l *lxc) quiet(folders map[string]lxcFolder, held map[string]bool) bool {
	sockets, ok := lxcSockets(l.path)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || l.plainAt.IsZero() || time.Since(l.plainAt) > l.unasked || len(l.known) != len(folders) {
		return false
	}
	for name, f := range folders {
		if e := l.known[name]; e == nil || !e.unmoved(f) || !e.asBefore(held[name], sockets[name]) {
			return false
		}
		delete(sockets, name)
	}
	return len(sockets) == 0
}

func (l *lxc) mayBeQuiet(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unasked = d
}

// unmoved tells the same container with the same configuration.
func (e *lxcEntry) unmoved(f lxcFolder) bool {
	return e.mark == f.mark && f.lock == nil && e.lock == nil && len(e.conf.files) > 0 && lxcConfMark(e.conf.files) == e.conf.mark
}

// asBefore tells whether what is known of its state still holds.
func (e *lxcEntry) asBefore(held, socket bool) bool {
	switch e.state {
	case health.Running, health.Paused:
		return held && socket && alive(e.init) && e.thaw()
	case health.Stopped:
		return !socket
	case health.Broken:
		return !socket && e.init.PID == 0
	}
	return false
}
