package hostexec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A record is what a successor needs to find a changing command: NAME.json beside its outputs NAME.out and NAME.err.
//
// It is written before the command exists and completed with its pid after. Killed in between, the agent leaves a record
// without pid; the command is then the process that has NAME.out as its standard output, and nobody else has. So there is
// no moment at which a command runs and cannot be found.
//
// Nothing is fsynced: what is guarded against is the death of this process, whose writes the kernel keeps. After a power
// loss or a reboot no command runs, and the boot id says so.
type record struct {
	Version int       `json:"version"`
	Agent   string    `json:"agent"`
	Op      Op        `json:"op"`
	Command []string  `json:"argv"`
	Unit    string    `json:"unit,omitempty"` // transient unit; its name is known before it exists
	PID     int       `json:"pid,omitempty"`
	Start   uint64    `json:"start,omitempty"`
	Boot    string    `json:"boot_id"`
	Started time.Time `json:"started"`

	name string // of its files, without suffix
}

const recordVersion = 1

// A folder holds the records and outputs of the changing commands in flight. The zero folder keeps nothing.
type folder struct{ dir string }

func (f folder) path(name, suffix string) string { return filepath.Join(f.dir, name+suffix) }

// outputs are the two files a command writes to. Files, because a pipe to us would end it by SIGPIPE when we die.
type outputs struct{ out, err *os.File }

func (o outputs) close() {
	o.out.Close()
	o.err.Close()
}

// begin puts r on record and opens its outputs. When that fails (folder full, read-only, gone), outputs in memory are
// returned with the error: a command must not be refused, and a customer kept down, for want of a file.
func (f folder) begin(r record) (outputs, error) {
	o, err := f.create(r)
	if err == nil {
		return o, nil
	}
	out, err1 := memfile(r.name + ".out")
	if err1 != nil {
		return outputs{}, errors.Join(err, err1)
	}
	errs, err1 := memfile(r.name + ".err")
	if err1 != nil {
		out.Close()
		return outputs{}, errors.Join(err, err1)
	}
	return outputs{out, errs}, err
}

func (f folder) create(r record) (outputs, error) {
	if f.dir == "" {
		return outputs{}, errNoFolder
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return outputs{}, fmt.Errorf("make the folder of changing commands: %w", err)
	}
	if err := f.write(r); err != nil {
		return outputs{}, err
	}
	o, err := f.open(r.name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		f.remove(r.name)
	}
	return o, err
}

// note puts on record a command that keeps its outputs elsewhere.
func (f folder) note(r record) error {
	if f.dir == "" {
		return nil
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of changing commands: %w", err)
	}
	return f.write(r)
}

var errNoFolder = errors.New("no folder was given for records of changing commands")

func (f folder) open(name string, flags int) (outputs, error) {
	out, err := os.OpenFile(f.path(name, ".out"), flags, 0o600)
	if err != nil {
		return outputs{}, fmt.Errorf("open the output of a changing command: %w", err)
	}
	errs, err := os.OpenFile(f.path(name, ".err"), flags, 0o600)
	if err != nil {
		out.Close()
		return outputs{}, fmt.Errorf("open the output of a changing command: %w", err)
	}
	return outputs{out, errs}, nil
}

// write puts r in place in one step, so that no reader sees half of it.
func (f folder) write(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("record command %q: %w", r.Op.ID, err)
	}
	half := f.path(r.name, ".json.half")
	if err := os.WriteFile(half, b, 0o600); err != nil {
		return fmt.Errorf("record command %q: %w", r.Op.ID, err)
	}
	if err := os.Rename(half, f.path(r.name, ".json")); err != nil {
		return fmt.Errorf("record command %q: %w", r.Op.ID, err)
	}
	return nil
}

// list reads all records. One that cannot be read was never finished being written, hence its command never started.
func (f folder) list() []record {
	paths, err := filepath.Glob(filepath.Join(f.dir, "*.json"))
	if f.dir == "" || err != nil {
		return nil
	}
	var out []record
	for _, path := range paths {
		r := record{}
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		r.name = strings.TrimSuffix(filepath.Base(path), ".json")
		if err != nil || r.Version != recordVersion {
			f.remove(r.name)
			continue
		}
		out = append(out, r)
	}
	return out
}

// remove takes a command off the record; the record itself last, so that no output is left without one.
func (f folder) remove(name string) {
	if f.dir == "" {
		return
	}
	for _, suffix := range []string{".json.half", ".out", ".err", ".json"} {
		if err := os.Remove(f.path(name, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // tried again by the successor, which finds the record
		}
	}
}

func memfile(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("atalaya-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory for its output: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// fileName makes an operation's id fit for file and unit names. Equal ids give equal names; different ids different ones.
func fileName(id string) string {
	plain := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.') {
			return r
		}
		return '_'
	}, id)
	if plain == id && len(id) <= 100 && id[0] != '.' {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "x" + plain[:min(len(plain), 80)] + "-" + hex.EncodeToString(sum[:6])
}
