package config

import (
	"fmt"
	"strings"
)

// near completes a message with what was probably meant: the nearest of the valid words by the number of letters to
// change, add, drop or swap; nothing where none is near.
func near(given string, valid []string) string {
	best, least := "", max(1, (len(given)+1)/3)
	for _, v := range valid {
		if d := distance(strings.ToLower(given), strings.ToLower(v)); d <= least && (best == "" || d < least) {
			best, least = v, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// orList is near, or else the valid words.
func orList(given string, valid []string) string {
	if s := near(given, valid); s != "" {
		return s
	}
	if len(valid) == 0 {
		return ""
	}
	return "; use " + strings.Join(valid, ", ")
}

// maxDistance bounds what is compared, in bytes: no key is nearly as long.
const maxDistance = 64

// distance is the optimal string alignment distance: edits of single bytes and swaps of neighbours.
func distance(a, b string) int {
	if len(a) > maxDistance || len(b) > maxDistance {
		return maxDistance
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range len(b) {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
