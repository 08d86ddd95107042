package sentinel

import (
	"context"
	"time"

	"atalaya/agent/health"
)

// The names of the sensors, best first.
const (
	sensorPidfd = "pidfd"
	sensorProc  = "proc"
	sensorPoll  = "poll"
)

// A token names one watch. It is never used again, so that what the kernel says late of a watch that has ended meanwhile
// is told apart from its successor's.
type token uint64

// A sensor is one way to learn that a process has ended. It has three implementations: pidfd, proc and poll.
type sensor interface {
	// add begins to hold p and gives it with its start time. A process that has ended already is an error (ErrDead), and
	// so is a pid that has another owner now.
	add(t token, p health.Process) (health.Process, error)
	// remove lets go. What it has reported before may still be under way.
	remove(t token)
	// run reports each watch whose process has ended, once, with the time at which the kernel told so, until ctx ends
	// (nil) or the sensor fails for good. dead never blocks.
	run(ctx context.Context, dead func(t token, at time.Time)) error
	// close frees what the sensor holds, after run has returned.
	close()
}
