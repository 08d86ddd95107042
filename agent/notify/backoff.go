package notify

import "time"

const (
	firstDelay = 5 * time.Second
	maxDelay   = time.Hour
	leastDelay = time.Second
)

// backoff is how long to wait after so many failed tries: full jitter (a random share r in [0,1) of an exponentially
// growing bound), because receivers that come back are met by all of us at once. Source: AWS Architecture Blog,
// "Exponential Backoff and Jitter".
func backoff(tries int, r float64) time.Duration {
	bound := maxDelay
	if shift := tries - 1; shift < 10 {
		bound = min(firstDelay<<max(shift, 0), maxDelay)
	}
	return max(time.Duration(r*float64(bound)), leastDelay)
}
