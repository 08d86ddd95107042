package health

import (
	"reflect"
	"testing"
	"time"
)

// Same must know every field: one that is added and not compared would not be committed.
func TestSameKnowsEveryField(t *testing.T) {
	indifferent := map[string]bool{"Last": true, "Wake": true}
	typ := reflect.TypeFor[State]()
	for i := range typ.NumField() {
		var s State
		name := typ.Field(i).Name
		touch(t, reflect.ValueOf(&s).Elem().Field(i))
		if got := s.Same(State{}); got != indifferent[name] {
			t.Errorf("State differs in %s, and Same says %v", name, got)
		}
	}
	s := State{Probes: map[string]ProbeState{"a": {Seq: 1, Ever: true}}}
	u := State{Probes: map[string]ProbeState{"a": {Seq: 2, Ever: true}}}
	if !s.Same(u) {
		t.Error("the number of a signal that changed nothing is worth no commit")
	}
}

// touch makes a value differ from its zero value.
func touch(t *testing.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("a"), reflect.Zero(v.Type().Elem()))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(epoch))
			return
		}
		for i := range v.NumField() {
			touch(t, v.Field(i))
		}
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	default:
		t.Fatalf("%s: the test does not know this kind", v.Type())
	}
}
