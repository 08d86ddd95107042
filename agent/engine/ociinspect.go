package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// dockerInspect asks for what is needed, one container a line. Not for all of it: the log of a health check is written
// from inside a container, and would fill the answer. ".ID" and not ".Id" has the client take its typed view of the
// answer, in which absent fields are empty; by ".Id" it takes the raw document, where they are errors (20.10.24).
const dockerInspect = `{"Id":{{json .ID}},"Name":{{json .Name}},"Created":{{json .Created}},"RestartCount":{{json .RestartCount}},` +
	`"Dir":{{json .HostsPath}},"State":{"Status":{{json .State.Status}},"Pid":{{json .State.Pid}},"ExitCode":{{json .State.ExitCode}},` +
	`"OOMKilled":{{json .State.OOMKilled}},"Error":{{json .State.Error}},"StartedAt":{{json .State.StartedAt}},` +
	`"FinishedAt":{{json .State.FinishedAt}},"Health":{"Status":{{if .State.Health}}{{json .State.Health.Status}}{{else}}""{{end}}}},` +
	`"StopTimeout":{{json .Config.StopTimeout}},"HostConfig":{{json .HostConfig}},"Labels":{{json .Config.Labels}},` +
	`"Networks":{{json .NetworkSettings.Networks}}}`

// podmanInspect asks for the whole state: podman keeps 500 characters of each run of a health check, and only newer ones
// have StoppedByUser there.
const podmanInspect = `{"Id":{{json .ID}},"Name":{{json .Name}},"Created":{{json .Created}},"RestartCount":{{json .RestartCount}},` +
	`"Dir":{{json .StaticDir}},"State":{{json .State}},"Infra":{{json .IsInfra}},"Pod":{{json .Pod}},` +
	`"StopTimeout":{{json .Config.StopTimeout}},"HostConfig":{{json .HostConfig}},"Labels":{{json .Config.Labels}},` +
	`"Networks":{{json .NetworkSettings.Networks}}}`

// ociInspect is what inspect tells of one container.
type ociInspect struct {
	ID           looseString           `json:"Id"`
	Name         looseString           `json:"Name"`
	Created      looseString           `json:"Created"`
	RestartCount looseInt              `json:"RestartCount"`
	Dir          looseString           `json:"Dir"` // a file or folder of it, in its own folder on the host
	Infra        looseBool             `json:"Infra"`
	Pod          looseString           `json:"Pod"`
	StopTimeout  looseInt              `json:"StopTimeout"`
	HostConfig   json.RawMessage       `json:"HostConfig"`
	Labels       map[string]string     `json:"Labels"`
	Networks     map[string]ociNetwork `json:"Networks"`
	ociState     `json:"State"`

	Health health.Outcome `json:"-"`
	Config string         `json:"-"` // digest of what a person can change
	Policy ociPolicy      `json:"-"`
	Log    string         `json:"-"` // podman: the file in which the driver k8s-file keeps what it printed
}

// ociState is its state.
type ociState struct {
	Status        looseString `json:"Status"`
	Pid           looseInt    `json:"Pid"`
	ConmonPid     looseInt    `json:"ConmonPid"` // podman: who would notice its end
	ExitCode      looseInt    `json:"ExitCode"`
	OOMKilled     looseBool   `json:"OOMKilled"`
	Error         looseString `json:"Error"`
	StartedAt     looseString `json:"StartedAt"`
	FinishedAt    looseString `json:"FinishedAt"`
	StoppedByUser looseBool   `json:"StoppedByUser"` // podman 5; 4.3.1 keeps it to itself
	Checked       struct {
		Status looseString `json:"Status"`
	} `json:"Health"`
}

// ociPolicy is what the engine does by itself when the container ends.
type ociPolicy struct {
	Name string
	Max  int64
}

type ociNetwork struct {
	NetworkID           looseString `json:"NetworkID"`
	IPAddress           looseString `json:"IPAddress"`
	IPPrefixLen         looseInt    `json:"IPPrefixLen"`
	GlobalIPv6Address   looseString `json:"GlobalIPv6Address"`
	GlobalIPv6PrefixLen looseInt    `json:"GlobalIPv6PrefixLen"`
	MacAddress          looseString `json:"MacAddress"`
}

// parseOCIInspect reads one container a line; docker and podman end each answer with a newline of their own.
func parseOCIInspect(b []byte) (map[string]ociInspect, error) {
	out := map[string]ociInspect{}
	for line := range bytes.Lines(b) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		var in ociInspect
		if err := json.Unmarshal(line, &in); err != nil {
			return nil, fmt.Errorf("%.60q: %w", line, err)
		}
		if checkOCIID(string(in.ID)) != nil || in.Status == "" {
			return nil, fmt.Errorf("%.60q: no container with an id and a state", line)
		}
		in.finish()
		out[string(in.ID)] = in
	}
	return out, nil
}

// finish derives what is used from what was told, and lets go of the rest.
func (in *ociInspect) finish() {
	var host struct {
		RestartPolicy struct {
			Name              looseString `json:"Name"`
			MaximumRetryCount looseInt    `json:"MaximumRetryCount"`
		} `json:"RestartPolicy"`
		LogConfig struct {
			Type looseString `json:"Type"`
			Path looseString `json:"Path"`
		} `json:"LogConfig"`
	}
	_ = json.Unmarshal(in.HostConfig, &host) // without it: no policy, which is what is then known
	in.Policy = ociPolicy{Name: string(host.RestartPolicy.Name), Max: int64(host.RestartPolicy.MaximumRetryCount)}
	if path := string(host.LogConfig.Path); host.LogConfig.Type == "k8s-file" && filepath.IsAbs(path) {
		in.Log = filepath.Clean(path)
	}
	h := fnv.New64a()
	_, _ = h.Write(in.HostConfig)
	for _, k := range sortedKeys(in.Labels) {
		fmt.Fprintf(h, "%q=%q", k, in.Labels[k])
	}
	for _, k := range sortedKeys(in.Networks) {
		fmt.Fprintf(h, "%q", k)
	}
	in.Config = fmt.Sprintf("%016x", h.Sum64())
	in.HostConfig = nil
	in.Health = ociHealth(string(in.Checked.Status))
}

// ociHealth reads the word of a health check. Only a running container has one that means anything.
func ociHealth(word string) health.Outcome {
	switch word {
	case "healthy":
		return health.Pass
	case "unhealthy":
		return health.Fail
	case "starting":
		return health.Unsure
	}
	return ""
}

// state reads the engine's word.
func (in ociInspect) state() health.RunState {
	s, _ := ociRunState(string(in.Status))
	return s
}

func (in ociInspect) running() bool {
	s := in.state()
	return s == health.Running || s == health.Paused
}

func (in ociInspect) began() time.Time { return ociTime(string(in.StartedAt)) }
func (in ociInspect) ended() time.Time { return ociTime(string(in.FinishedAt)) }

// ociRunState reads the words of both engines; known is false for one that is new to us.
func ociRunState(word string) (s health.RunState, known bool) {
	switch strings.ToLower(word) {
	case "running":
		return health.Running, true
	case "created", "configured", "initialized", "exited", "stopped":
		return health.Stopped, true
	case "paused":
		return health.Paused, true
	case "restarting", "removing", "stopping":
		return health.Busy, true
	case "dead":
		return health.Broken, true // "cannot be restarted, only removed" (docker's reference of ps)
	}
	return health.Unknown, false
}

// ociTime reads a moment; what never was is the zero time.
func ociTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1971 {
		return time.Time{}
	}
	return t
}

// addrs are those it has now, in the order of its networks' names.
func (in ociInspect) addrs() []health.Addr {
	var out []health.Addr
	for _, name := range sortedKeys(in.Networks) {
		n := in.Networks[name]
		for _, a := range []struct {
			text string
			bits looseInt
		}{{string(n.IPAddress), n.IPPrefixLen}, {string(n.GlobalIPv6Address), n.GlobalIPv6PrefixLen}} {
			if ip, err := netip.ParseAddr(a.text); err == nil && a.bits >= 0 && int(a.bits) <= ip.BitLen() {
				out = append(out, health.Addr{Prefix: netip.PrefixFrom(ip, int(a.bits)), MAC: string(n.MacAddress)})
			}
		}
	}
	return out
}

// ociGone gives which of ids the engine says that it does not have.
func ociGone(words *regexp.Regexp, stderr []byte, ids []string) []string {
	var gone []string
	for _, m := range words.FindAllSubmatch(stderr, -1) {
		if id := string(m[1]); slices.Contains(ids, id) {
			gone = append(gone, id)
		}
	}
	return gone
}

// ociShort keeps an error readable that would begin with hundreds of ids.
func ociShort(err error, t hostexec.Transcript, ids []string) error {
	if len(ids) == 1 {
		return err
	}
	t.Argv = append(slices.Clone(t.Argv[:1]), "inspect", fmt.Sprintf("(%d containers)", len(ids)))
	if short := t.Err(); short != nil {
		return short
	}
	return errors.New("inspect: " + err.Error())
}

// ociCauseRE takes the wrapping off: "Error response from daemon: ", "Error: unable to start container \"…\": ".
var ociCauseRE = regexp.MustCompile(`^(?:Error response from daemon: |Error: |unable to start container "?[0-9a-f]{64}"?: |failed to create (?:shim )?task: |failed to create shim: |OCI runtime create failed: |(?:/\S*/)?(?:runc|crun): |runc create failed: |unable to start container process: )+`)

// ociCause gives the innermost words of the first line that names one: docker's last line, "Error: failed to start
// containers: ID", says nothing.
func ociCause(stderr []byte, last string) string {
	for line := range strings.Lines(string(stderr)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "Error") || strings.HasPrefix(line, "Error: failed to start containers") {
			continue
		}
		if cause := tidy(ociCauseRE.ReplaceAllString(line, "")); cause != "" {
			return strings.TrimSuffix(cause, ": unknown")
		}
	}
	return last
}
