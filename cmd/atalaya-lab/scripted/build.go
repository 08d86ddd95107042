package scripted

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ToolEnv names the environment variable that says where the tool is, once it is built.
const ToolEnv = "ATALAYA_SCRIPTED"

// BuildTool builds the tool of all scripted engines into a folder, and gives its path.
func BuildTool(dir string) (string, error) {
	path := filepath.Join(dir, "tool")
	cmd := exec.Command("go", "build", "-o", path, "atalaya/cmd/atalaya-lab/scripted/testdata/tool")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tool of scripted engines: %w: %s", err, out)
	}
	return path, nil
}

// Run is what a TestMain does: it builds the tool, unless somebody has, and runs the tests. Where it cannot be built the
// test binary stands in for it.
func Run(tests func() int) int {
	Main()
	if os.Getenv(ToolEnv) != "" {
		return tests()
	}
	dir, err := os.MkdirTemp("", "atalaya-scripted-*")
	if err != nil {
		return tests()
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if path, err := BuildTool(dir); err == nil {
		_ = os.Setenv(ToolEnv, path)
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	return tests()
}
