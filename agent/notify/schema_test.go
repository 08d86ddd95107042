package notify_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"atalaya/agent/health"
)

// schemaFile is what receivers are told to validate against.
const schemaFile = "../../docs/alert.v1.schema.json"

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validDocument says whether a document that was really sent is what the schema promises.
func validDocument(t *testing.T, doc []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema(t).Validate(v); err != nil {
		t.Errorf("%v\n%s", err, doc)
	}
}

// The schema allows exactly what the code can make: each field that it does not know is refused, and so is each that is
// missing, so that neither can drift from the other unseen.
func TestSchemaRefusesWhatIsNot(t *testing.T) {
	a, err := json.Marshal(testAlert())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"an unknown field":      func(d map[string]any) { d["colour"] = "red" },
		"another version":       func(d map[string]any) { d["schema"] = "atalaya.alert/v2" },
		"an unknown kind":       func(d map[string]any) { d["kind"] = "boo" },
		"no delivery":           func(d map[string]any) { delete(d, "delivery") },
		"no host":               func(d map[string]any) { delete(d, "host") },
		"no UTC offset":         func(d map[string]any) { d["since"] = "2026-11-24T04:05:06" },
		"an unknown layer":      func(d map[string]any) { d["verdict"].(map[string]any)["layer"] = "weather" },
		"an attempt without at": func(d map[string]any) { delete(d["attempts"].([]any)[0].(map[string]any), "at") },
	} {
		var d map[string]any
		if err := json.Unmarshal(a, &d); err != nil {
			t.Fatal(err)
		}
		d["delivery"] = map[string]any{"key": "k", "attempt": 1, "sent_at": "2026-11-24T04:05:06+01:00"}
		if err := schema(t).Validate(d); err != nil {
			t.Fatalf("before the change: %v", err)
		}
		change(d)
		if schema(t).Validate(d) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A notice belongs to no incident and no container; its document is valid too.
func TestSchemaTakesEveryKind(t *testing.T) {
	for _, kind := range []health.AlertKind{health.AlertOpen, health.AlertUpdate, health.AlertEscalate, health.AlertResolved, health.AlertNotice} {
		a := health.Alert{Schema: health.AlertSchema, Kind: kind, Severity: "info", Summary: "x", Since: epoch, At: epoch, How: "recovered", DownFor: 74.5}
		if kind != health.AlertNotice {
			a = testAlert()
			a.Kind = kind
		}
		doc := struct {
			health.Alert
			Delivery any `json:"delivery"`
		}{a, map[string]any{"key": "k", "attempt": 1, "sent_at": epoch}}
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		validDocument(t, b)
	}
}
