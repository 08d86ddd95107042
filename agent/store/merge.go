package store

import "slices"

// maxJournal bounds the journal rows and notes that a merged batch keeps: some megabytes. The oldest go first.
const maxJournal = 20_000

// merge makes one batch of many that were never tried, oldest first. Of statements about the same thing only the one that
// matters is kept, so that a disk that is full for a day costs memory by the number of containers, not by the hour.
func merge(bs []*batch) *batch {
	out := &batch{}
	var all []op
	for _, b := range bs {
		all = append(all, b.ops...)
		out.at, out.serial = max(out.at, b.at), max(out.serial, b.serial)
		for _, w := range b.waiters {
			if len(w) == 0 { // else it has had its word
				out.waiters = append(out.waiters, w)
			}
		}
	}
	matters := map[string]int{}
	for i, o := range all {
		if _, seen := matters[o.key]; !seen || !o.first {
			matters[o.key] = i
		}
	}
	journal := 0
	for i, o := range slices.Backward(all) { // the newest first, so that they are the ones that are kept
		if o.key != "" && matters[o.key] != i {
			continue
		}
		if o.journal() {
			if journal++; journal > maxJournal {
				continue
			}
		}
		out.ops = append(out.ops, o)
	}
	slices.Reverse(out.ops)
	return out
}

// journal says whether o may be let go when too much is owed.
func (o op) journal() bool { return o.q == putRun || o.q == addNote }
