package config

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/agent/schedule"
	"atalaya/agent/secret"
)

// DefaultPath is the configuration file where none is named. It need not exist.
const DefaultPath = "/etc/atalaya/atalaya.yaml"

// A Config is one whole configuration. It is not changed after Load, nor copied.
type Config struct {
	Path         string      // the file it came from; empty: there was none
	Warnings     []Problem   // what works and is probably not meant
	Host         Host        //
	Mode         health.Mode // the most that the agent does, for any container
	Poll         time.Duration
	PollHeld     time.Duration // where the kernel holds every known init
	Engines      []engine.Spec // empty: discover
	Channels     []Channel     // in the order of the file
	Evidence     Evidence
	Store        Store
	Web          Web
	Control      Control
	Limits       Limits
	HostWide     HostWide
	Windows      []Window
	Schedules    []Schedule
	Housekeeping schedule.Spec // in the host's time zone
	Log          Log           //
	Secrets      *secret.Set   // all secrets that are mentioned; never nil

	raw     rawFile
	origin  origin
	library map[string]placed
	roots   map[string]*x509.CertPool // by CA file, as they were when the file was loaded
	values  map[rawRef]secret.Value
	known   answers
}

// Load reads the configuration file at path, and the environment. With path "" it is the one that ATALAYA_CONFIG names,
// else DefaultPath; if that one does not exist, the built-in defaults hold. It reads the files that secrets and
// certificates are in and nothing else. The error is of type Errors and holds every mistake.
func Load(path string) (*Config, error) {
	if path == "" {
		path = os.Getenv(PathVariable)
	}
	if path == "" {
		if _, err := os.Lstat(DefaultPath); errors.Is(err, fs.ErrNotExist) {
			return build("", nil, 0)
		}
		path = DefaultPath
	}
	content, mode, err := readFile(path)
	if err != nil {
		return nil, Errors{{File: path, Msg: err.Error()}}
	}
	return build(path, content, mode)
}

// build makes a Config of the content of a file, with the permissions mode, and of the environment.
func build(path string, content []byte, mode fs.FileMode) (*Config, error) {
	root, problem := parse(path, content)
	if problem != nil {
		return nil, Errors{*problem}
	}
	w := &walker{file: path, lines: map[string]int{}, left: maxValues}
	values := w.block(root, schema(), "")
	env, problems := environment()
	raw, err := decode(values, env)
	if err != nil { // the table and the raw types differ: a test would have to be broken
		return nil, append(w.problems, Problem{File: path, Msg: err.Error()})
	}
	c := &compiler{
		problems: append(w.problems, problems...),
		origin:   origin{file: path, lines: w.lines, env: env},
		mode:     mode,
	}
	config := c.config(raw)
	if len(c.problems) > 0 {
		return nil, c.problems.sorted()
	}
	config.Path = path
	config.Warnings = c.warnings.sorted()
	return config, nil
}
