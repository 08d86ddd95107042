package engine

// Changed tells whether anything was defined, removed or reconfigured since the last list, without starting a process.
// Together with the kernel's notices about all that runs, false means that a list may wait. Where an engine cannot tell,
// it is always true.
func (i *Instance) Changed() bool { return i.tool.changed == nil || i.tool.changed() }

// changed compares the folder with what the last list made of it.
func (l *lxc) changed() bool {
	folders, err := l.folders()
	if err != nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(folders) != len(l.known) {
		return true
	}
	for name, f := range folders {
		e := l.known[name]
		if e == nil || e.mark != f.mark || f.creating || lxcConfMark(e.conf.files) != e.conf.mark {
			return true
		}
	}
	return false
}
