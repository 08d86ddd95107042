// Package evidence takes what a failure leaves behind, before an action destroys it and after it, redacts it, seals it
// as one .zip per part of an incident, and reads such a bundle back: verifies, shows, lists.
//
//	c := recorder.Begin(request)      // at the death notice: everything is started at once
//	c.Volatile(ctx)                   // returns when the action would destroy no more, at most after the budget
//	…start or restart, by the caller…
//	c.AddTranscript("lxc-start", t)   // what was tried
//	c.After(items)                    // the second round
//	sealed, err := c.Seal(ctx, report)
//
// It never fails as a whole: an item that hangs, panics, is refused or comes too late is named in the manifest with the
// reason, and the rest is kept. Every bound is written down ("cut at 256 KiB of 3 MiB").
//
// What a container can write is hostile here: its files are regular files below their root or they are not read, and
// what goes into REPORT.txt has no control characters left. Redaction happens once, at sealing, over everything.
//
// It is not its job to judge (agent/diagnose), to know engines (agent/engine names the commands and files), to decide
// when evidence is taken (agent/health), or to remember and prune bundles (agent/store).
package evidence
