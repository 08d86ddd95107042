package diagnose

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"atalaya/agent/health"
)

// facts are those in which only a signature's sample is known.
func (s signature) facts() Facts {
	f := Facts{Failure: WontStart, Attempts: []Attempt{{Done: health.Done{Verb: health.VerbStart}}}}
	f.Sighting.Ref = health.Ref{Engine: s.engine, ID: "101"}
	switch s.from {
	case FactSighting:
		f.Failure, f.Sighting.Detail, f.Sighting.State = Died, s.sample, s.state
	case FactKernel:
		f.Failure, f.Kernel = Died, []string{s.sample}
		if m := s.match.FindStringSubmatch(s.sample); m != nil && s.cgroup > 0 {
			f.Cgroup = m[s.cgroup]
		} else if m != nil && s.id > 0 {
			f.Sighting.Ref.ID = m[s.id]
		}
	default:
		f.Attempts[0].Err, f.Attempts[0].Cause, f.Attempts[0].Exit = "exit 1", s.sample, s.exit
		if s.exit == 0 {
			f.Attempts[0].Exit = 1
		}
	}
	return f
}

// Each signature matches its sample and not its near miss, and wins on its sample alone: no other comes before it.
func TestSignatures(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, s := range table() {
		if seen[s.name] {
			t.Errorf("%q twice", s.name)
		}
		seen[s.name] = true
		at := s.match.FindStringSubmatchIndex(s.sample)
		if at == nil || s.match.MatchString(s.near) || s.near == "" {
			t.Errorf("%q: sample %v, near miss %v", s.name, at != nil, s.match.MatchString(s.near))
			continue
		}
		f := s.facts()
		v := Judge(f)
		if want := s.verdict(f, wrapping.ReplaceAllString(s.sample, ""), s.match.FindStringSubmatchIndex(wrapping.ReplaceAllString(s.sample, ""))); v.Sentence != want.Sentence || v.Layer != s.layer || v.Cure != want.Cure {
			t.Errorf("%q does not win on its own sample: %s: %s", s.name, v.Layer, v.Sentence)
		}
		acceptable(t, v)
	}
}

// A near miss is not told as what it nearly is, wherever it turns up.
func TestNearMisses(t *testing.T) {
	t.Parallel()
	for _, s := range table() {
		miss := s
		miss.sample = s.near
		f := miss.facts()
		f.Cgroup, f.Sighting.Ref.ID = "/x", "x"
		if v := Judge(f); strings.Contains(v.Sentence, fill(s.because, "", nil)) {
			t.Errorf("%q wins on its near miss %q: %s", s.name, s.near, v.Sentence)
		}
	}
}

// Every entry says what a technician needs, and where it is from; a sample of ours is in the file that it is said to be from.
func TestSignaturesAreWhole(t *testing.T) {
	t.Parallel()
	public := regexp.MustCompile(`^(https://\S+|public file id \d+)( \([^)]+\))?$`)
	holes := regexp.MustCompile(`\$\D|\$$`)
	for _, s := range table() {
		if s.because == "" || s.disproof == "" || s.cure == "" || !layers[s.layer] && s.layer != Provider {
			t.Errorf("%q: %+v is not whole", s.name, s)
		}
		if s.layer == Provider && s.from != FactKernel {
			t.Errorf("%q blames the provider by words of somebody else than the kernel", s.name)
		}
		if text := s.because + s.disproof + s.cure; holes.MatchString(text) {
			t.Errorf("%q: a hole without a number in %q", s.name, text)
		}
		file, _, _ := strings.Cut(s.source, ", ")
		switch {
		case strings.HasPrefix(file, "testdata/"), strings.HasPrefix(file, "agent/engine/testdata/"):
			text, err := os.ReadFile(filepath.Join("..", "diagnose", strings.Replace(file, "agent/engine/", "../engine/", 1)))
			if err != nil || !strings.Contains(unquoted(string(text)), s.sample) {
				t.Errorf("%q: the sample is not in its source %q (%v)", s.name, s.source, err)
			}
		case strings.HasPrefix(file, "real-lxc-broken.txt"), strings.HasPrefix(file, "agent/engine/"), public.MatchString(s.source):
		default:
			t.Errorf("%q: source %q is neither a file nor a public place", s.name, s.source)
		}
	}
}

// unquoted takes the quotes out of a file of JSON lines, so that its messages can be found in it.
func unquoted(text string) string { return text + strings.ReplaceAll(text, `\"`, `"`) }

// The table has what it promises: at least 80, and some of every engine. The numbers are printed by go test -v.
func TestCount(t *testing.T) {
	t.Parallel()
	count := map[string]int{}
	for _, s := range table() {
		name := s.engine
		if s.from == FactKernel {
			name = "kernel"
		}
		count[name]++
	}
	for _, name := range []string{"openvz", "virtuozzo", "proxmox", "libvirt", "qemu", "lxc", "lxd", "docker", "podman", "oci", "nspawn", "kernel"} {
		if count[name] < 5 {
			t.Errorf("%s has only %d signatures", name, count[name])
		}
	}
	names := make([]string, 0, len(count))
	for name := range count {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		t.Logf("%-10s %3d", name, count[name])
	}
	t.Logf("%-10s %3d", "all", len(table()))
	if len(table()) < 110 {
		t.Errorf("only %d signatures", len(table()))
	}
}
