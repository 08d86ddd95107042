package engine_test

import (
	"os"
	"testing"

	"atalaya/cmd/atalaya-lab/scripted"
)

// TestMain has the tool of scripted engines built, which plays their commands.
func TestMain(m *testing.M) {
	os.Exit(scripted.Run(m.Run))
}

// TestScripted runs what only a scripted engine can be asked: its traps, locks and lies. An engine adds its line; make
// mutate runs the subtest of its name.
func TestScripted(t *testing.T) {
	for name, run := range map[string]func(*testing.T){
		"incus":     scriptedIncus,
		"openvz":    scriptedOpenVZ,
		"virtuozzo": scriptedVirtuozzo,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
}
