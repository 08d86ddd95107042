// Package health is the vocabulary of Atalaya and its pure decisions.
//
// Everything that observes speaks in its words (Sighting, Signal, Death, Done, Order, HostWord), and one function
// decides what follows:
//
//	Step(Policy, State, Observation) (State, []Action)
//
// The contract with the caller, who owns clock, disk and network:
//
//   - observations of one container are stepped in one order, and the time given never goes back;
//   - the returned State is committed, with everything the actions imply, before any action is carried out;
//   - actions are carried out in the order given, and each outcome comes back as an Observation;
//   - at State.Wake, if nothing else came, Step is called with an Observation that has only a time.
//
// Step is total: it never fails, never blocks, never keeps a reference to its input and never changes it. Given the
// same arguments it returns the same values, so a journal of observations replays exactly.
//
// It is not the place for anything that reads a clock, rolls dice or does I/O; it imports only the standard library.
package health
