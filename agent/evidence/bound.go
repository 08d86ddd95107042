package evidence

import (
	"bytes"
	"fmt"
)

// lineReach is how far from the place of a cut a line end is looked for, so that a cut leaves whole lines: readable, and
// never half a secret of which the redactor knows only the whole.
const lineReach = 8 << 10

// bound cuts data to at most limit bytes at one end, at a line end where one is near.
func bound(data []byte, limit int, tail bool) []byte {
	if len(data) <= limit {
		return data
	}
	if tail {
		return bytes.Clone(dropPartFirst(data[len(data)-limit:])) // a copy: the rest need not be held
	}
	return bytes.Clone(dropPartLast(data[:limit]))
}

// dropPartFirst drops what stands before the first line end, if that is near.
func dropPartFirst(data []byte) []byte {
	if i := bytes.IndexByte(data[:min(len(data), lineReach)], '\n'); i >= 0 {
		return data[i+1:]
	}
	return data
}

// dropPartLast drops what stands after the last line end, if that is near.
func dropPartLast(data []byte) []byte {
	from := max(0, len(data)-lineReach)
	if i := bytes.LastIndexByte(data[from:], '\n'); i >= 0 {
		return data[:from+i+1]
	}
	return data
}

// cutWords says how much of something was kept; size -1 means that its end was not reached.
func cutWords(kept int, size int64, tail bool) string {
	end := "the first part is kept"
	if tail {
		end = "the last part is kept"
	}
	if size < 0 {
		return fmt.Sprintf("cut at %s of more: %s", bytesWords(int64(kept)), end)
	}
	return fmt.Sprintf("cut at %s of %s: %s", bytesWords(int64(kept)), bytesWords(size), end)
}

// bytesWords is a size for people: "812 B", "256 KiB", "3.4 MiB".
func bytesWords(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/(1<<10), "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if v < 1023.95 {
			break
		}
		v, unit = v/(1<<10), next
	}
	if v >= 99.95 || v == float64(int64(v)) {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
