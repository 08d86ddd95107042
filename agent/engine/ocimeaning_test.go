package engine

import (
	"strings"
	"testing"

	"atalaya/agent/health"
)

func TestOCIMeaning(t *testing.T) {
	id, other := "ab12"+strings.Repeat("0", 60), "ab34"+strings.Repeat("0", 60)
	for _, engine := range []string{"docker", "podman"} {
		o := ociOpened(t, engine)
		o.known[id], o.known[other] = &ociEntry{in: ociInspect{Name: "/web1"}}, &ociEntry{in: ociInspect{Name: "web2"}}
		for _, tt := range []struct {
			line string
			id   string
			verb health.Verb
		}{
			{"E stop web1", id, health.VerbStop},
			{"/usr/bin/E stop -t 30 web1", id, health.VerbStop},
			{"E stop -t30 web1 web2", id, health.VerbStop},
			{"E stop --time=30 nosuch web2", other, health.VerbStop},
			{"E stop --timeout 30 -- web1", id, health.VerbStop},
			{"E container stop web1", id, health.VerbStop},
			{"E --log-level debug container stop ab12", id, health.VerbStop},
			{"E -l debug stop " + id, id, health.VerbStop},
			{"E kill -s KILL web1", id, health.VerbKill},
			{"E kill --signal=9 web1", id, health.VerbKill},
			{"E restart web1", id, health.VerbRestart},
			{"E rm -f web1", id, health.VerbRemove},
			{"E rm -fv web2", other, health.VerbRemove},
			{"E commit -m why web1 image:1", id, health.VerbSnapshot},
			{"E checkpoint create web1 c1", id, health.VerbMove},
			{"E container checkpoint -e /tmp/x web1", id, health.VerbMove},
			{"E stop ab", "", ""}, // either
			{"E stop nosuch", "", ""},
			{"E stop --help web1", "", ""},
			{"E stop", "", ""},
			{"E", "", ""},
			{"E start web1", "", ""},
			{"E attach web1", "", ""},
			{"E exec web1 stop web1", "", ""},
			{"E logs -f web1", "", ""},
			{"E run --name stop web1", "", ""},
			{"E pause web1", "", ""},
			{"E compose stop web1", "", ""},
			{"vi E stop web1", "", ""},
		} {
			argv := strings.Fields(strings.ReplaceAll(tt.line, "E", engine))
			got, verb, ok := o.meaning(argv)
			if got != tt.id || verb != tt.verb || ok != (tt.id != "") {
				t.Errorf("%q means %q %q %v, want %q %q", argv, got, verb, ok, tt.id, tt.verb)
			}
		}
	}
	for line, here := range map[string]bool{
		"docker -H unix:///other.sock stop web1": false, "docker --host=unix:///this.sock stop web1": true, "docker --context prod stop web1": false,
		"docker stop web1": true, "docker -H unix:///run/here.sock stop web1": true, "docker --context default stop web1": true,
	} {
		o := ociOpened(t, "docker")
		o.spec.Args = []string{"--host=unix:///this.sock"}
		if strings.Contains(line, "here") {
			o.spec.Args = []string{"--host=unix:///var/run/here.sock"}
		}
		o.known[id] = &ociEntry{in: ociInspect{Name: "web1"}}
		if _, _, ok := o.meaning(strings.Fields(line)); ok != here {
			t.Errorf("%q: %v, want %v", line, ok, here)
		}
	}
}

func FuzzOCIMeaning(f *testing.F) {
	f.Add("docker\x00--host\x00x\x00container\x00stop\x00-t\x005\x00web1")
	f.Add("podman\x00rm\x00-f\x00--\x00ab12")
	id := "ab12" + strings.Repeat("0", 60)
	f.Fuzz(func(t *testing.T, line string) {
		for _, engine := range []string{"docker", "podman"} {
			o := ociOpened(t, engine)
			o.known[id] = &ociEntry{in: ociInspect{Name: "web1"}}
			if got, verb, ok := o.meaning(strings.Split(line, "\x00")); ok && (got != id || verb == "") {
				t.Errorf("%q means %q %q", line, got, verb)
			}
		}
	})
}
