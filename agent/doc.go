// Package agent is the decision loop: it gathers what has arrived, steps the containers concerned, commits, and has the
// actions carried out. Observe, decide, commit, act.
//
// One goroutine, Run's, owns all states, the survey and the journal. Everything else only puts events into its inbox: one
// reader per engine instance, the kernel's notices, the prober, the actions under way, the host's changes, people's
// orders. There is no barrier: nothing waits for the slowest list or probe.
//
// A turn drains what has arrived, has health.Step decide, writes everything in one transaction, and only then lets the
// actions go. If the store fails, healing goes on from memory, with one attempt per container, and the view says so.
//
// It decides nothing itself: health does.
package agent
