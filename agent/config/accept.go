package config

import (
	"fmt"
	"slices"
	"time"
)

// accepts says why the text s cannot be the value of k.
func (k key) accepts(s string) error {
	var n int64
	switch k.kind {
	case choice:
		if !slices.Contains(k.of, s) {
			return fmt.Errorf("%q is not known%s", s, orList(s, k.of))
		}
		return nil
	case truth:
		if s != "true" && s != "false" {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		return nil
	case duration:
		d, err := parseDuration(s)
		if err != nil {
			return err
		}
		n = int64(d)
	case size:
		b, err := parseSize(s)
		if err != nil {
			return err
		}
		n = b
	case whole:
		i, err := parseWhole(s)
		if err != nil {
			return err
		}
		n = i
	case text, texts, names, times, block, list:
		if k.check == nil {
			return nil
		}
		return k.check(s)
	}
	return k.within(s, n)
}

// within checks the bounds of k.
func (k key) within(s string, n int64) error {
	switch {
	case k.high == 0 || n >= k.low && n <= k.high:
		return nil
	case n < k.low:
		return fmt.Errorf("%s is less than %s", s, k.show(k.low))
	}
	return fmt.Errorf("%s is more than %s", s, k.show(k.high))
}

// show writes a number of k's own unit.
func (k key) show(n int64) string {
	switch k.kind {
	case duration, times:
		return formatDuration(time.Duration(n))
	case size:
		return formatSize(n)
	case text, whole, truth, choice, texts, names, block, list:
	}
	return fmt.Sprint(n)
}
