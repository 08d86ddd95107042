package config

import (
	"reflect"
	"strings"
)

// tagOf gives the table's name of a field of a raw type, and whether its keys belong to the level above.
func tagOf(f reflect.StructField) (name string, squash bool) {
	name, rest, _ := strings.Cut(f.Tag.Get("mapstructure"), ",")
	return name, rest == "squash"
}

// overlay lays what src gives over dst, two structs of the same raw type, and tells said the path of every key that it
// took. Lists replace each other whole.
func overlay(dst, src reflect.Value, path string, said func(path string)) {
	for i := range dst.NumField() {
		name, squash := tagOf(dst.Type().Field(i))
		at := join(path, name)
		if squash {
			at = path
		}
		d, s := dst.Field(i), src.Field(i)
		switch s.Kind() {
		case reflect.Struct:
			overlay(d, s, at, said)
		case reflect.Pointer, reflect.Slice:
			if !s.IsNil() {
				d.Set(s)
				said(at)
			}
		default: // the name of a probe: it is the same in both
		}
	}
}

// given visits every key that v, a struct of a raw type, gives, in the order of its fields.
func given(v reflect.Value, path string, visit func(path string, v reflect.Value)) {
	for i := range v.NumField() {
		name, squash := tagOf(v.Type().Field(i))
		at := join(path, name)
		if squash {
			at = path
		}
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Struct:
			given(f, at, visit)
		case reflect.Pointer, reflect.Slice:
			if !f.IsNil() {
				visit(at, reflect.Indirect(f))
			}
		default:
			visit(at, f)
		}
	}
}
