package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Whatever stands in the file, Load gives a Config that can be used and written, or errors that name the file.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("../../configs/invalid/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, samplePath) {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte(layered))
	f.Add([]byte(full))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := build("x.yaml", content, 0o600)
		if err != nil {
			var all Errors
			if c != nil || !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("%v, %v", c, err)
			}
			for _, p := range all {
				if p.Msg == "" || p.File == "" {
					t.Fatalf("%+v", p)
				}
			}
			return
		}
		c.For(sighting("web1", "gold"))
		var out bytes.Buffer
		if err := c.Render(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := build("x.yaml", out.Bytes(), 0o600); err != nil && !bytes.Contains(out.Bytes(), []byte("[redacted]")) {
			t.Fatalf("%v\nin\n%s", err, out.Bytes())
		}
	})
}
