package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"atalaya/cmd/atalaya-lab/floor"
)

// floorProgram is a run of the floor as a process of its own, of the lab's own binary.
type floorProgram struct {
	*program
	events chan floor.Event
}

// startFloor runs `atalaya-lab floor` and waits until it holds its containers.
func startFloor(ctx context.Context, lab, dir string, o floor.Options) (*floorProgram, error) {
	argv := []string{lab, "floor", "--every", o.Every.String()}
	if o.Path != "" {
		argv = append(argv, "--path", o.Path)
	}
	for flag, targets := range map[string][]string{"--urls": o.URLs, "--tcp": o.TCP} {
		if len(targets) == 0 {
			continue
		}
		file := filepath.Join(dir, "floor"+flag)
		if err := os.WriteFile(file, []byte(strings.Join(targets, "\n")), 0o600); err != nil {
			return nil, fmt.Errorf("write the floor's targets: %w", err)
		}
		argv = append(argv, flag, file)
	}
	p, err := launch(dir, "floor", argv...)
	if err != nil {
		return nil, err
	}
	f := &floorProgram{program: p, events: make(chan floor.Event, 1024)}
	ready := make(chan struct{})
	go f.read(ready)
	err = p.await(ctx, time.Minute, "the floor holds its containers", func() bool {
		select {
		case <-ready:
			return true
		default:
			return false
		}
	})
	if err != nil {
		_ = p.stop()
		return nil, err
	}
	return f, nil
}

// read passes on what the floor prints until it ends.
func (f *floorProgram) read(ready chan struct{}) {
	defer close(f.events)
	for {
		line, err := f.out.ReadString('\n')
		if err != nil {
			return
		}
		if line == "ready\n" {
			close(ready)
			continue
		}
		var e floor.Event
		if json.Unmarshal([]byte(line), &e) == nil {
			f.events <- e
		}
	}
}
