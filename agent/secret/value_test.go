package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"atalaya/agent/secret"
)

const text = "hunter2-hunter2"

// Every way a Value is likely to be printed by accident, also as a field that fmt reaches only by reflection.
func TestNothingShowsAValue(t *testing.T) {
	v := secret.New(text)
	type Exported struct{ Key secret.Value }
	type unexported struct{ key secret.Value }
	things := []any{
		v, &v, Exported{v}, &Exported{v}, unexported{v}, &unexported{v},
		[]secret.Value{v}, []unexported{{v}}, map[string]secret.Value{"k": v}, map[string]any{"k": unexported{v}},
		errors.Join(fmt.Errorf("send with %v", v)),
	}
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%c", "%U", "%e", "%T", "%b", "%08.3f", "%!"}
	for _, thing := range things {
		for _, verb := range verbs {
			hidden(t, verb, fmt.Sprintf(verb, thing))
		}
		j, _ := json.Marshal(thing)
		hidden(t, "json", string(j))
		y, _ := yaml.Marshal(thing)
		hidden(t, "yaml", string(y))
		var b bytes.Buffer
		slog.New(slog.NewTextHandler(&b, nil)).Info("m", "thing", thing)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("m", "thing", thing)
		hidden(t, "slog", b.String())
		hidden(t, "print", fmt.Sprint(thing))
	}
}

func hidden(t *testing.T, how, out string) {
	t.Helper()
	if strings.Contains(out, "hunter") || strings.Contains(out, "68756e74") {
		t.Errorf("%s shows the secret: %s", how, out)
	}
}

func TestWhatStandsInItsPlace(t *testing.T) {
	v := secret.New(text)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, v); got != "[redacted]" {
			t.Errorf("%s gives %q", verb, got)
		}
	}
	j, err := json.Marshal(struct {
		A secret.Value `json:"a"`
		B secret.Value `json:"b,omitzero"`
	}{A: v})
	if err != nil || string(j) != `{"a":"[redacted]"}` {
		t.Errorf("JSON %s, %v", j, err)
	}
	y, err := yaml.Marshal(map[string]any{"a": v})
	if err != nil || string(y) != "a: '[redacted]'\n" {
		t.Errorf("YAML %q, %v", y, err)
	}
}

func TestEqualComparesTheTextNotTheSource(t *testing.T) {
	t.Setenv("SECRET_TEST_EQUAL", text)
	v, err := secret.Load("env:SECRET_TEST_EQUAL")
	if err != nil {
		t.Fatal(err)
	}
	if !v.Equal(secret.New(text)) || v.Equal(secret.New("other")) || v.Equal(secret.Value{}) {
		t.Error("Equal is wrong")
	}
	if v.Source() != "env:SECRET_TEST_EQUAL" || v.Reveal() != text {
		t.Errorf("source %q", v.Source())
	}
	if z := (secret.Value{}); !z.IsZero() || z.Reveal() != "" || z.Source() != "" || v.IsZero() {
		t.Error("the zero Value is no secret")
	}
}
