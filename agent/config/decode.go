package config

import (
	"fmt"
	"reflect"
	"time"

	"github.com/spf13/viper"
)

// decode has viper lay the environment over the checked values of the file, and decode both over the defaults.
func decode(values map[string]any, env map[string]string) (rawFile, error) {
	v := viper.New()
	if err := v.MergeConfigMap(values); err != nil {
		return rawFile{}, fmt.Errorf("merge configuration: %w", err)
	}
	for path, name := range env {
		if err := v.BindEnv(path, name); err != nil {
			return rawFile{}, fmt.Errorf("bind %s to %s: %w", path, name, err)
		}
	}
	raw := builtIn()
	if err := v.UnmarshalExact(&raw, viper.DecodeHook(fromText)); err != nil {
		return rawFile{}, fmt.Errorf("decode configuration: %w", err)
	}
	return raw, nil
}

// fromText reads the texts that have units. The only integers of 64 bits in the raw types are sizes.
func fromText(from, to reflect.Type, data any) (any, error) {
	if from.Kind() != reflect.String {
		return data, nil
	}
	s := reflect.ValueOf(data).String()
	switch {
	case to == reflect.TypeFor[time.Duration]():
		return parseDuration(s)
	case to.Kind() == reflect.Int64:
		return parseSize(s)
	}
	return data, nil
}
