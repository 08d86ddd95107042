package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"atalaya/agent/engine"
	"atalaya/agent/health"
	"atalaya/probes"
)

// The table and the types that viper decodes into have the same keys, and the same idea of their values.
func TestTableFitsTheTypes(t *testing.T) {
	fit(t, "", schema(), reflect.TypeFor[rawFile]())
}

func fit(t *testing.T, path string, keys []key, typ reflect.Type) {
	t.Helper()
	fields := map[string]reflect.Type{}
	collect(typ, fields)
	for _, k := range keys {
		at := join(path, k.name)
		f, found := fields[k.name]
		if !found {
			t.Errorf("%s: no field", at)
			continue
		}
		delete(fields, k.name)
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		switch k.kind {
		case block:
			fit(t, at, k.keys, f)
		case list:
			fit(t, at, k.keys, f.Elem())
		case duration:
			same(t, at, f, reflect.TypeFor[time.Duration]())
		case times:
			same(t, at, f, reflect.TypeFor[[]time.Duration]())
		case size:
			same(t, at, f, reflect.TypeFor[int64]())
		case whole:
			same(t, at, f, reflect.TypeFor[int]())
		case truth:
			same(t, at, f, reflect.TypeFor[bool]())
		case texts, names:
			same(t, at, f, reflect.TypeFor[[]string]())
		case text, choice:
			if f.Kind() != reflect.String {
				t.Errorf("%s: a text is a %v", at, f)
			}
		}
		if k.kind == choice && len(k.of) == 0 || k.doc == "" || !strings.HasSuffix(k.doc, ".") {
			t.Errorf("%s: the row is not complete", at)
		}
		if k.def != "" && k.kind != list && k.kind != times {
			if err := k.accepts(k.def); err != nil {
				t.Errorf("%s: its default: %v", at, err)
			}
		}
	}
	for name := range fields {
		t.Errorf("%s: not in the table", join(path, name))
	}
}

func same(t *testing.T, at string, got, want reflect.Type) {
	t.Helper()
	if got != want {
		t.Errorf("%s: is a %v, not a %v", at, got, want)
	}
}

func collect(typ reflect.Type, into map[string]reflect.Type) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if name, squash := tagOf(f); squash {
			collect(f.Type, into)
		} else {
			into[name] = f.Type
		}
	}
}

func TestVariablesAreUnique(t *testing.T) {
	seen := map[string]string{}
	scalars(schema(), "", func(path string, _ key) {
		if other, taken := seen[variable(path)]; taken {
			t.Errorf("%s and %s have the variable %s", path, other, variable(path))
		}
		seen[variable(path)] = path
	})
	if seen["ATALAYA_MODE"] != "mode" || seen["ATALAYA_STORE_DIR"] != "store.dir" || seen["ATALAYA_DEFAULTS_BUDGET_ATTEMPTS"] == "" {
		t.Errorf("variables %v", seen)
	}
}

// Dropping the # of every default in configs/atalaya.yaml changes nothing.
func TestSampleIsTheDefaults(t *testing.T) {
	clean(t)
	raw, err := os.ReadFile(samplePath)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)^( *)#(\S)`).ReplaceAllString(string(raw), "$1$2")
	if strings.Count(all, "\n") != strings.Count(string(raw), "\n") || strings.Contains(all, "\n#mode") || !strings.Contains(all, "\nmode: heal\n") {
		t.Fatal("the comments were not dropped")
	}
	for _, content := range []string{all, string(raw), ""} {
		got := loaded(t, content)
		want := builtInConfig(t)
		if render(t, got) != render(t, want) {
			t.Errorf("got\n%swant\n%s", render(t, got), render(t, want))
		}
		s := health.Sighting{Ref: health.Ref{Engine: "lxc", ID: "web1"}, Name: "web1"}
		a, b := got.For(s), want.For(s)
		a.Trace, b.Trace = nil, nil
		if !reflect.DeepEqual(a, b) {
			t.Errorf("For gives %+v, want %+v", a, b)
		}
		if !reflect.DeepEqual(b.Policy, health.DefaultPolicy()) {
			t.Errorf("built in is %+v, not that of package health", b.Policy)
		}
	}
}

// The defaults in the table for lists are those of the packages that do the work.
func TestDefaultsOfItems(t *testing.T) {
	p, d := probeKeys(), health.DefaultProbePolicy()
	for name, want := range map[string]string{
		"every": d.Every.String(), "grace": formatDuration(d.Grace), "on_fail": string(d.OnFail),
		"fail_after": show(reflect.ValueOf(d.FailAfter)), "pass_after": show(reflect.ValueOf(d.PassAfter)),
		"timeout": probes.DefaultTimeout.String(), "body_cap": formatSize(probes.DefaultBodyCap),
		"expiry_warning": formatDuration(probes.DefaultExpiryWarning), "target": probes.Auto, "family": probes.AnyFamily,
	} {
		if k, _ := find(p, name); k.def != want {
			t.Errorf("probes.%s: the table says %s, the code %s", name, k.def, want)
		}
	}
	if k, _ := find(engineKeys(), "timeout"); k.def != formatDuration(engine.DefaultTimeout) {
		t.Errorf("engines.timeout: %s is not %s", k.def, engine.DefaultTimeout)
	}
}

// The examples in configs/atalaya.yaml are a configuration, and have every kind of thing in it.
func TestExamplesLoad(t *testing.T) {
	clean(t)
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for name, content := range map[string]string{"ops-hook": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "ops-token": "Bearer abc", "desk-url": "https://desk.example.net/k"} {
		if err := os.WriteFile(dir+"/"+name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(samplePath)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^#    (.*)$`).FindAllStringSubmatch(string(raw), -1) {
		b.WriteString(m[1] + "\n")
	}
	c := loaded(t, b.String())
	if len(c.Engines) != 5 || len(c.Channels) != 3 || len(c.raw.Probes) != 3 || len(c.raw.Containers) != 4 {
		t.Errorf("%d engines, %d channels", len(c.Engines), len(c.Channels))
	}
	web := c.For(health.Sighting{Ref: health.Ref{Engine: "lxc", ID: "web1"}, Name: "web1"})
	if len(web.Probes) != 2 || web.Probes[1].Port != 8080 || web.Probes[1].Path != "/healthz" || web.Runbook == "" {
		t.Errorf("web1: %+v", web)
	}
	for _, ch := range c.Channels {
		if _, err := ch.Open("test"); err != nil {
			t.Error(err)
		}
	}
	if got := string(c.Secrets.Redact([]byte("Bearer abc https://desk.example.net/k"))); got != "[redacted] [redacted]" {
		t.Errorf("redacted: %s", got)
	}
}

func TestChoicesAreThoseOfTheirPackages(t *testing.T) {
	k, _ := find(probeKeys(), "kind")
	e, _ := find(engineKeys(), "engine")
	if !slices.Equal(k.of, probes.Kinds()) || !slices.Equal(e.of, engine.Names()) {
		t.Errorf("%v, %v", k.of, e.of)
	}
}
