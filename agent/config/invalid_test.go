package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// clean drops the variables that would be read as configuration.
func clean(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); strings.HasPrefix(name, envPrefix) {
			t.Setenv(name, value) // puts it back afterwards
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Every mistake in configs/invalid gives exactly the message beside it. After a change of words: -update, and read.
func TestInvalidFilesSayWhatIsWrong(t *testing.T) {
	clean(t)
	t.Chdir("../..")
	files, err := filepath.Glob("configs/invalid/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			c, err := Load(path)
			var all Errors
			if c != nil || !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("Load gives %v, %v", c, err)
			}
			got := err.Error() + "\n"
			answer := strings.TrimSuffix(path, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(answer, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(answer)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			for _, p := range all {
				if p.File != path || p.Line == 0 {
					t.Errorf("no line: %v", p)
				}
			}
		})
	}
}
