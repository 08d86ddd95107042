package config

import (
	"fmt"
	"io"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Render writes the effective configuration as YAML: what the file and the environment say, and the built-in default
// where they say nothing. Load reads it back, except that a secret given as text is [redacted] and has to be put back.
func (c *Config) Render(w io.Writer) error {
	raw := c.raw
	defaults := rawRule{rawSettings: builtInSettings()}
	overlay(reflect.ValueOf(&defaults).Elem(), reflect.ValueOf(rawRule{rawSettings: raw.Defaults}), "", func(string) {})
	raw.Defaults = defaults.rawSettings
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(tree(reflect.ValueOf(raw))); err != nil {
		return fmt.Errorf("render configuration: %w", err)
	}
	if err := e.Close(); err != nil {
		return fmt.Errorf("render configuration: %w", err)
	}
	return nil
}
