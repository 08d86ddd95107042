package secret

import (
	"fmt"
	"log/slog"
)

// Redacted is what stands where a secret was.
const Redacted = "[redacted]"

// A Value is one secret. It is shown by no formatter; only Reveal gives it away. The zero Value is no secret. Values are
// immutable and safe for concurrent use; compare them with Equal, not with ==.
type Value struct {
	// A pointer, because fmt prints the unexported fields of a struct around us by reflection, without asking our
	// methods: it then shows an address, not the text.
	text   *string
	source *string
}

// New makes a Value of a text that is already in memory. Its source, "a literal", is how it is named where it must be.
func New(text string) Value { return from(text, "a literal") }

func from(text, source string) Value {
	if text == "" {
		return Value{}
	}
	return Value{text: &text, source: &source}
}

// Reveal gives the secret itself, empty for the zero Value. Call it where it is used, and keep the result in no struct.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// Source says where the secret came from, in the words of Load ("file:/etc/atalaya/hook.key", "env:HOOK",
// "credential:hook"), or "a literal". It is empty for the zero Value. It gives nothing away.
func (v Value) Source() string {
	if v.source == nil {
		return ""
	}
	return *v.source
}

// IsZero says that there is no secret. The option omitzero of encoding/json asks it.
func (v Value) IsZero() bool { return v.text == nil }

// Equal says that both hold the same secret, wherever it came from.
func (v Value) Equal(o Value) bool { return v.Reveal() == o.Reveal() }

// String gives [redacted].
func (Value) String() string { return Redacted }

// GoString gives [redacted].
func (Value) GoString() string { return Redacted }

// Format writes [redacted] for every verb and flag.
func (Value) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(Redacted)) }

// MarshalText gives [redacted].
func (Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON gives "[redacted]".
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalYAML gives [redacted].
func (Value) MarshalYAML() (any, error) { return Redacted, nil }

// LogValue gives [redacted].
func (Value) LogValue() slog.Value { return slog.StringValue(Redacted) }
