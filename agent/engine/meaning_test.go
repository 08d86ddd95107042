package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atalaya/agent/health"
)

func TestMeaning(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	here, err := Open(Spec{Engine: "lxc", Path: dir}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	main, err := Open(Spec{Engine: "lxc"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line string
		id   string
		verb health.Verb
	}{
		{"lxc-stop -P DIR -n web1", "web1", health.VerbStop},
		{"/usr/bin/lxc-stop -PDIR -nweb1 -t 30", "web1", health.VerbStop},
		{"lxc-stop --lxcpath=DIR --name=web1", "web1", health.VerbStop},
		{"lxc-stop --lxcpath LINK --name web1", "web1", health.VerbStop},
		{"lxc-stop -P DIR web1", "web1", health.VerbStop},
		{"lxc-stop web1 -t 5 -P DIR/", "web1", health.VerbStop},
		{"lxc-stop -P DIR -kn web1", "web1", health.VerbKill},
		{"lxc-stop -P DIR --na=web1 --kill", "web1", health.VerbKill},
		{"lxc-stop -P DIR -n web1 -r", "web1", health.VerbRestart},
		{"lxc-stop -P DIR -n web1 --nokill", "web1", health.VerbStop},
		{"lxc-stop -t 5 -P DIR -- web1", "web1", health.VerbStop},
		{"lxc-stop -n --odd -P DIR", "--odd", health.VerbStop},
		{"lxc-destroy -f -P DIR -n web1", "web1", health.VerbRemove},
		{"lxc-copy -P DIR -n web1 -N web2 -s", "web1", health.VerbSnapshot},
		{"lxc-copy -P DIR -n web1 -R -N web2", "web1", health.VerbMove},
		{"lxc-clone -P DIR -o web1 -n web2", "web1", health.VerbSnapshot},
		{"lxc-snapshot -P DIR -n web1 -c why.txt", "web1", health.VerbSnapshot},
		{"lxc-checkpoint -P DIR -n web1 -s -D /tmp/x", "web1", health.VerbMove},
		{"lxc-snapshot -P DIR -n web1 -L", "", ""},
		{"lxc-stop -P /elsewhere -n web1", "", ""},
		{"lxc-stop -n web1", "", ""}, // the tools' own path, which is not this one
		{"lxc-stop -P DIR", "", ""},
		{"lxc-stop -P DIR -n ../web1", "", ""},
		{"lxc-attach -P DIR -n web1", "", ""},
		{"lxc-console -P DIR -n web1", "", ""},
		{"lxc-info -P DIR -n web1", "", ""},
		{"lxc-monitor -P DIR -n web1", "", ""},
		{"lxc-freeze -P DIR -n web1", "", ""},
		{"lxc-start -P DIR -n web1", "", ""},
		{"vi lxc-stop -P DIR -n web1", "", ""},
	} {
		argv := strings.Fields(strings.NewReplacer("DIR", dir, "LINK", link).Replace(tt.line))
		id, verb, ok := here.Meaning(argv)
		if id != tt.id || verb != tt.verb || ok != (tt.id != "") {
			t.Errorf("%s\n  means %q %q %v, want %q %q", tt.line, id, verb, ok, tt.id, tt.verb)
		}
	}
	if id, _, ok := main.Meaning([]string{"lxc-stop", "-n", "web1"}); !ok || id != "web1" {
		t.Errorf("without -P the tools' own lxcpath is meant: %q %v", id, ok)
	}
	if _, _, ok := main.Meaning(nil); ok {
		t.Error("nothing means something")
	}
}

func FuzzMeaning(f *testing.F) {
	f.Add("lxc-stop\x00-P\x00/var/lib/lxc\x00-kn\x00web1")
	f.Add("lxc-copy\x00--name=web1\x00-R")
	i, err := Open(Spec{Engine: "lxc"}, nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
		id, _, ok := i.Meaning(strings.Split(line, "\x00"))
		if ok && checkID(id) != nil {
			t.Errorf("%q means container %q", line, id)
		}
	})
}
