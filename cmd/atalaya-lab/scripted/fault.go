package scripted

import (
	"bytes"
	"os"
	"strings"
	"time"
)

// Kind is what a tool is told to do instead of its work.
type Kind string

// The kinds of Fault.
const (
	Hang   Kind = "hang"   // print nothing, and not end; with For, to do its work after that time
	Answer Kind = "answer" // print Reply and do nothing: a failure with its cause, or a lie
	Empty  Kind = "empty"  // print nothing, exit 0
	Garble Kind = "garble" // do its work, print half of it and then garbage, and exit as ever
	Flood  Kind = "flood"  // print 100 MB, exit 0
	Die    Kind = "die"    // do its work, and the init of the container dies at once
)

// A Fault is one thing that goes wrong. On holds words: the tool's name, and words that must all be in the command line:
// "vzctl start 102". The latest fault that fits counts.
type Fault struct {
	On    string        `json:"on"`
	Do    Kind          `json:"do"`
	Reply string        `json:"reply,omitempty"`
	For   time.Duration `json:"for,omitempty"`
}

// Fault adds a fault until Heal.
func (h *Host) Fault(f Fault) {
	h.Locked(func() { h.must(h.write("faults.json", append(h.faults(), f))) })
}

// Heal removes all faults.
func (h *Host) Heal() { h.must(os.RemoveAll(h.path("faults.json"))) }

func (h *Host) faults() (all []Fault) {
	if err := h.read("faults.json", &all); err != nil && !os.IsNotExist(err) {
		h.must(err)
	}
	return all
}

// fault finds the latest that fits.
func (c *Call) fault() (f Fault, ok bool) {
	all := c.faults()
	for i := len(all) - 1; i >= 0; i-- {
		words := strings.Fields(all[i].On)
		fits := len(words) > 0 && words[0] == c.Tool
		for _, w := range words[min(1, len(words)):] {
			fits = fits && c.Has(w)
		}
		if fits {
			return all[i], true
		}
	}
	return Fault{}, false
}

// faulty runs the tool as it is told to.
func (c *Call) faulty(play func(*Call) int) int {
	f, ok := c.fault()
	if !ok {
		return play(c)
	}
	switch f.Do {
	case Hang:
		if f.For == 0 {
			f.For = time.Hour
		}
		time.Sleep(f.For)
		return play(c)
	case Answer:
		return c.Reply(f.Reply, View{Container: c.named(), ID: c.namedID(), All: c.All()})
	case Empty:
		return 0
	case Garble:
		code := play(c)
		half := bytes.Clone(c.out.Bytes()[:c.out.Len()/2])
		c.out.Reset()
		c.out.Write(append(half, "\x00\xff\xfe{\x1b[2J"...))
		return code
	case Flood:
		line := []byte(strings.Repeat("x", 1<<10) + "\n")
		for range 100 << 10 {
			if _, err := os.Stdout.Write(line); err != nil {
				break
			}
		}
		return 0
	case Die:
		code := play(c)
		if k := c.named(); k != nil {
			kill(k.PID, k.Start)
		}
		return code
	}
	return play(c)
}

// named gives the first container that the command line names, also as a part of a path or behind a remote
// ("local:web1"); nil when none.
func (c *Call) named() *Container {
	for _, a := range c.Args {
		parts := strings.FieldsFunc(a, func(r rune) bool { return r == '/' || r == ':' })
		for _, word := range append([]string{a}, parts...) {
			if word == "" {
				continue
			}
			if k := c.Get(word); k != nil {
				return k
			}
		}
	}
	return nil
}

func (c *Call) namedID() string {
	if k := c.named(); k != nil {
		return k.ID
	}
	return ""
}
