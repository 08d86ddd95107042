package config

import (
	"reflect"
	"slices"
	"strings"
)

// foreign finds keys of a raw value that its kind does not know.
func (c *compiler) foreign(path string, keys []key, raw any, kind string) {
	given(reflect.ValueOf(raw), "", func(name string, _ reflect.Value) {
		name, _, _ = strings.Cut(name, ".")
		k, found := find(keys, name)
		if found && len(k.only) > 0 && kind != "" && !slices.Contains(k.only, kind) {
			c.wrong(join(path, name), "does not belong to %s, only to %s", kind, strings.Join(k.only, ", "))
		}
	})
}
