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
// The journal keeps each observation that changed something with its moment and its order, and how many came between that
// changed nothing. Replay takes it through the same turns and the same decisions: by the same settings it comes to the same,
// deed by deed, and by others it shows what would have been done. So whatever is stepped is stepped by take, which keeps it,
// except what follows from it alone.
//
// It decides nothing itself: health does.
package agent
