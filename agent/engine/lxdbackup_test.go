package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"
)

// A file is a backup when all of it is there, and the container's own files are in it.
func TestLXDWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tar.gz")
	export := func(names ...string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		for _, name := range names {
			if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600}); err != nil {
				t.Fatal(err)
			}
		}
		if w.Close() != nil || z.Close() != nil {
			t.Fatal("cannot be")
		}
		return b.Bytes()
	}
	whole := export("backup/index.yaml", "backup/container/rootfs/init")
	bent := bytes.Clone(whole)
	bent[len(bent)-6] ^= 1 // its checksum
	for name, tt := range map[string]struct {
		file []byte
		good bool
	}{
		"whole":                {whole, true},
		"of a VM":              {export("backup/virtual-machine/metadata.yaml", "backup/virtual-machine.img"), true},
		"no files":             {export("backup/index.yaml", "backup/container/backup.yaml"), false},
		"those of a snapshot":  {export("backup/index.yaml", "backup/snapshots/s/rootfs/init"), false},
		"half":                 {whole[:len(whole)/2], false},
		"all but its checksum": {whole[:len(whole)-8], false},
		"bent":                 {bent, false},
		"empty":                {nil, false},
		"not compressed":       {[]byte("backup"), false},
	} {
		if err := os.WriteFile(path, tt.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := lxdWhole(t.Context(), path); (err == nil) != tt.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
