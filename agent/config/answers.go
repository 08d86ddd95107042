package config

import (
	"fmt"
	"sync"
)

// answers remembers what was composed of which rules. Its zero value is ready; it is safe for concurrent use.
type answers struct {
	mu      sync.Mutex
	byRules map[string]Container
}

// maxAnswers bounds how many are remembered; all others are composed anew each time. A host has a handful.
const maxAnswers = 1024

func (a *answers) get(rules []int, compose func([]int) Container) Container {
	key := fmt.Sprint(rules)
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, known := a.byRules[key]; known {
		return c
	}
	c := compose(rules)
	if a.byRules == nil {
		a.byRules = map[string]Container{}
	}
	if len(a.byRules) < maxAnswers {
		a.byRules[key] = c
	}
	return c
}
