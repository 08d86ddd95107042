package diagnose

import (
	"strings"
	"testing"

	"atalaya/agent/health"
)

// BenchmarkJudge is the worst that an engine may hand over: 64 KiB of a log in which nothing is known.
func BenchmarkJudge(b *testing.B) {
	line := "lxc-start web1 20261124033509.817 ERROR    start - ../src/lxc/start.c:lxc_new:1840 - Failed to do something that nobody has seen\n"
	f := Facts{Failure: WontStart, Log: strings.Repeat(line, 64<<10/len(line)), Attempts: []Attempt{{Exit: 1, Done: health.Done{Verb: health.VerbStart, Err: "exit 1"}}}}
	for _, engine := range []string{"lxc", "custom"} {
		f.Sighting.Ref = health.Ref{Engine: engine, ID: "web1"}
		b.Run(engine, func(b *testing.B) {
			for b.Loop() {
				Judge(f)
			}
		})
	}
}
