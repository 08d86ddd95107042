package engine

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// What the degraded paths have in common: one container hangs the tool for all, so each is asked by itself, a few at once and
// not for long, and the culprits are named. Why that happens, and who is to be asked, each engine knows in its own file.

const (
	slowWithin = 2 * time.Second // for one question about one container, on such a path
	slowAtOnce = 4               // of them
)

// askEach calls ask for each id, slowAtOnce at a time, and returns when all have come back.
func askEach(ids []string, ask func(id string)) {
	var wg sync.WaitGroup
	places := make(chan struct{}, slowAtOnce)
	for _, id := range ids {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			ask(id)
		})
	}
	wg.Wait()
}

// culprits names the first of those that do not answer, and counts the rest.
func culprits(who []string) string {
	if n := len(who); n > 3 {
		who = append(who[:3:3], fmt.Sprintf("%d more", n-3))
	}
	return strings.Join(who, ", ")
}
