package evidence

import (
	"context"
	"errors"
	"time"
)

// Which end of something too long is kept.
const (
	KeepHead = "head"
	KeepTail = "tail"
)

// The bounds of one item where it names none itself.
const (
	DefaultMax     = 256 << 10       // bytes kept
	MaxMax         = 1 << 20         // no item keeps more bytes than this, but for pictures
	MaxImage       = 8 << 20         // a picture with more bytes is left out: a part of it shows nothing
	DefaultTimeout = 1 * time.Second // so long may one item take, counted from its own start
	MaxItems       = 256             // of one round; more are named in the manifest, and not taken
)

// An Item is one piece of evidence to be taken. Exactly one of Argv, Path, Data and Func says how; Data may be empty.
type Item struct {
	Name     string   // of its file in the bundle: "console.log". Made safe where it is not
	Shows    string   // one line for a reader: what it shows. Empty: where it is from
	Argv     []string // a command that only reads, run without a shell
	Runner   Runner   // which runs Argv; nil: the recorder's own
	Path     string   // a regular file; nothing else is ever opened
	Root     string   // Path is the container's own, relative to this folder, and must stay below it
	Data     []byte   // at hand already
	Func     func(ctx context.Context) ([]byte, error)
	Volatile bool          // the action would destroy it: Capture.Volatile waits for it
	Max      int           // bytes kept; 0: DefaultMax, and never more than MaxMax
	Cut      string        // KeepHead or KeepTail; empty: the tail of files, the head of all else
	Image    bool          // a picture, PNG or PPM: kept as it is, at most MaxImage bytes, or not at all. Max and Cut mean nothing
	Timeout  time.Duration // 0: DefaultTimeout
}

var errShapeless = errors.New("the item names no command, file, data or function")

func (i Item) max() int {
	if i.Image {
		return MaxImage
	}
	if i.Max <= 0 {
		return DefaultMax
	}
	return min(i.Max, MaxMax)
}

func (i Item) timeout() time.Duration {
	if i.Timeout <= 0 {
		return DefaultTimeout
	}
	return i.Timeout
}

func (i Item) keepsTail() bool {
	return !i.Image && (i.Cut == KeepTail || (i.Cut == "" && i.Path != ""))
}

// A found is what came of one item. Data beyond the item's bound is never held.
type found struct {
	data     []byte
	size     int64 // true size in bytes; -1: not known, but more than was kept
	stderr   []byte
	errSize  int64
	exit     *int // of a command that ended by itself
	signal   string
	modified time.Time // of a file
	err      error     // why data is missing, or not all that it should be
}
