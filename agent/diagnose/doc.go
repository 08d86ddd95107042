// Package diagnose turns the facts of a failure into a verdict: which layer is to blame, why, what would disprove it,
// and what to do.
//
//	verdict := diagnose.Judge(facts)
//
// It is pure: no clock, no I/O, the standard library and agent/health alone. The same facts give the same verdict.
//
// How it reasons, strongest first: somebody stopped it or holds it; the host lacks what it needs; the host can neither
// stop nor start it; a failure whose words are known (a table of data, each entry with a sample that it must match and one
// that it must not); the kernel's word about memory; errno and the object it was about; the kernel's word about the host;
// how it ended; all containers or one; what changed; what the probe says from outside and from inside; counters. What is
// left is undetermined, with what would settle it: a wrong verdict costs more than none. docs/verdicts.md has it in full.
//
// Only the kernel's own lines about hardware blame the provider: nothing that a container can bring about does.
//
// It is not its job to collect facts (agent/evidence, agent/engine), nor to decide what is done (agent/health).
package diagnose
