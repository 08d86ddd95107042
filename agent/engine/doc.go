// Package engine speaks to virtualization tools: it lists containers, looks at one, starts and stops it, and reads the
// tool's answers into the words of package health.
//
// An engine is data plus parsers over one shared runner: a kind (see kinds) opens an instance as a tool, which holds its
// command lines as a table of verbs and the functions that read what it prints. Adding an engine takes one file, its
// testdata folder and one line in kinds.
//
// What is guaranteed:
//
//   - No shell. Identifiers are checked before they reach a command line, and stand where they cannot become an option.
//   - A list starts a number of processes that does not depend on the number of containers, unless something is wrong
//     with one of them; Listing.Degraded says so when it is.
//   - A list that failed is an error, never an empty list: no observation is not "down".
//   - Exit 0 is reported, not believed: whoever orders a start must look again.
//
// It knows no policy: it does not decide what is wanted, when to act, or whose fault something is. It does not notice
// deaths (package sentinel does) and it keeps nothing over a restart of the agent.
package engine
