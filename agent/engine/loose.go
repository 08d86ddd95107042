package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Tools change what they print between versions: a number becomes a string, a field comes to be null. The types here take
// what is meant and refuse only what means nothing.

// looseString is a string, or a number or truth value written as one. null is "".
type looseString string

// UnmarshalJSON implements json.Unmarshaler.
func (s *looseString) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	switch {
	case string(b) == "null":
		*s = ""
		return nil
	case len(b) > 0 && b[0] == '"':
		var v string
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		*s = looseString(v)
		return nil
	case len(b) > 0 && (b[0] == '{' || b[0] == '['):
		return fmt.Errorf("%.40s is no text", b)
	}
	*s = looseString(b)
	return nil
}

// looseInt is a whole number, or a string that holds one. null and "" are 0.
type looseInt int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *looseInt) UnmarshalJSON(b []byte) error {
	var s looseString
	if err := s.UnmarshalJSON(b); err != nil {
		return err
	}
	text := strings.TrimSpace(string(s))
	if text == "" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, err2 := strconv.ParseFloat(text, 64) // 1e3, 12.0
		if err2 != nil || f != float64(int64(f)) {
			return fmt.Errorf("%q is no whole number", text)
		}
		v = int64(f)
	}
	*n = looseInt(v)
	return nil
}

// looseBool is a truth value as JSON has it, or as tools write it: yes, on, 1, true, enable(d). Anything else is false.
type looseBool bool

// UnmarshalJSON implements json.Unmarshaler.
func (v *looseBool) UnmarshalJSON(b []byte) error {
	var s looseString
	if err := s.UnmarshalJSON(b); err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(string(s))) {
	case "true", "yes", "on", "1", "enable", "enabled":
		*v = true
	default:
		*v = false
	}
	return nil
}
