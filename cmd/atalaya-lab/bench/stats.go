package bench

import (
	"slices"
	"time"
)

// sample is a list of measured values of one kind, in the unit of its column.
type sample []float64

// at is the value below which the share q of the sample lies; 0 for an empty one.
func (s sample) at(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func (s sample) median() float64 { return s.at(0.5) }

func (s sample) extremes() (low, high float64) {
	if len(s) == 0 {
		return 0, 0
	}
	return slices.Min(s), slices.Max(s)
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ratio is a over the floor's b, and 0 where there is no floor.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
