// Package scripted plays the command line of a virtualization engine that cannot run on this machine: it answers word for
// word as the engine's source and recorded samples say, exit codes and standard error included, and keeps what it did.
//
// The parts:
//
//   - A Host is a folder: the engine's containers, host files below a root of their own (lock files, logs), and the
//     engine's commands, which are links to one small program (tool). Called by such a name, it is that command (Main).
//   - A reply file (package file reply.go) is what the tool prints in one situation, with its source, exit code and the
//     engine's words for states. A player (vz.go, …) is the Go code that decides which situation it is.
//   - A container's init is a real process, so that pids, kill -9 and the identity of a life are real.
//   - A Fault tells the tool to hang, lie, fail, garble, or print 100 MB (fault.go).
//   - Mutants (mutate.go) are reply files with one thing changed, each of which the engine's suite must notice.
//
// It is no simulator: what no reply file states, it does not answer. See README.md for how to add an engine.
package scripted
