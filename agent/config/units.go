package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// parseDuration reads what time.ParseDuration does and days ("90d", "1d12h"), and refuses numbers without a unit:
// viper would take 10 for 10 ns.
func parseDuration(s string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		if strings.Trim(s, "0123456789") != "" {
			return 0, fmt.Errorf("%s has no unit: write it with ms, s, m, h or d", s)
		}
		return 0, fmt.Errorf("%s has no unit: write %ss if you mean seconds", s, s)
	}
	var days time.Duration
	rest := s
	if n, after, found := strings.Cut(s, "d"); found {
		count, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, notDuration(s)
		}
		days, rest = time.Duration(count)*24*time.Hour, after
	}
	if rest == "" && days > 0 {
		return days, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d > math.MaxInt64-days {
		return 0, notDuration(s)
	}
	if d < 0 {
		return 0, fmt.Errorf("%s is negative", s)
	}
	return days + d, nil
}

func notDuration(s string) error {
	return fmt.Errorf("%q is not a duration: write 300ms, 10s, 5m, 6h or 90d", s)
}

// formatDuration is the shortest text that parseDuration reads as d.
func formatDuration(d time.Duration) string {
	const oneDay = 24 * time.Hour
	if d >= 2*oneDay && d%oneDay == 0 {
		return strconv.FormatInt(int64(d/oneDay), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

type unit struct {
	name string
	size int64
}

func units() []unit {
	return []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
}

// parseSize reads a number of bytes with its unit.
func parseSize(s string) (int64, error) {
	for _, u := range units() {
		n, found := strings.CutSuffix(s, u.name)
		if !found {
			continue
		}
		count, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		if err != nil || count < 0 || count > math.MaxInt64/u.size {
			break
		}
		return count * u.size, nil
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, fmt.Errorf("%s has no unit: write %sMiB if you mean that", s, s)
	}
	return 0, fmt.Errorf("%q is not a size: write 512KiB, 64MiB or 2GiB", s)
}

// formatSize is the shortest text that parseSize reads as n.
func formatSize(n int64) string {
	for _, u := range units() {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return "0B"
}

var errWhole = errors.New("is not a whole number")

// parseWhole reads a decimal number. A leading zero is refused: to YAML and to viper 010 is 8.
func parseWhole(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("%q %w", s, errWhole)
	}
	return n, nil
}
