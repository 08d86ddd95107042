// Package hostexec runs one command of this host, and is the only package that may import os/exec.
//
// There are three kinds, because they may be ended differently:
//
//   - Read runs a command that only reads. It is bounded in time and killed whole, with everything it started.
//   - Change runs a command that changes a container. A start or a stop that is cut in the middle leaves a container that
//     neither runs nor can be started, so it is never killed: not past its limit (SIGTERM at most), not when the agent
//     stops, not when the agent is killed. It writes to files, is on record before it exists, and is awaited by us or by
//     our successor (Unfinished, Await).
//   - Stream follows a long-lived command line by line.
//
// A Remote does the same on another host, by the OpenSSH client, except that it follows nothing.
//
// What comes of a command is a Transcript, good enough to be evidence. No call waits for a child in uninterruptible
// sleep: such a child is abandoned, counted, named by Stuck, and reaped when the kernel lets go of it.
//
// What Change starts inherits nothing of the agent's own unit. Inside a systemd service it is started by systemd, in a
// transient unit of its own; elsewhere directly, with what can be reset reset.
//
// It is not the place for what a command means, for retries, or for policy. There is never a shell.
package hostexec
