package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// The degraded path. vzlist asks the file system about the private area of each container that does not run (kolyshkin/vzctl
// src/vzlist.c get_mounted_status): one area on storage that hangs has it hang for all. Asked for one container it looks at
// that one only (check_veid_restr), so the others still answer, and the culprit is named.

// vzlist asks for the containers that ids name, or for all.
func (h *vzHost) vzlist(ctx context.Context, within time.Duration, fields string, ids ...string) ([]vzRow, hostexec.Transcript, error) {
	t, err := h.askWithin(ctx, h.argv("vzlist", append([]string{"-a", "-j", "-o", fields}, ids...)...), within)
	if err != nil {
		return nil, t, err
	}
	rows, err := parseVZList(t.Stdout)
	return rows, t, err
}

// vzNotFound tells that vzlist knows none of those that it was asked for.
func vzNotFound(t hostexec.Transcript) bool {
	return t.Exit == 1 && strings.Contains(string(t.Stderr), "Container(s) not found")
}

// allRows asks for all containers: in one process, unless one of them hangs it. hung says which.
func (h *vzHost) allRows(ctx context.Context, fields string) (rows []vzRow, hung string, t hostexec.Transcript, err error) {
	h.mu.Lock()
	slow := len(h.slow) > 0
	h.mu.Unlock()
	if !slow {
		rows, t, err = h.vzlist(ctx, h.spec.Timeout, fields)
		if !t.TimedOut || ctx.Err() != nil {
			return rows, "", t, err
		}
	}
	each, hung, failed := h.eachRow(ctx, fields)
	if failed != nil {
		return nil, "", t, errors.Join(err, failed)
	}
	return each, hung, t, nil
}

// eachRow asks for each container alone, some at once. When none answers it is vzlist that hangs, and that is an error.
func (h *vzHost) eachRow(ctx context.Context, fields string) (rows []vzRow, hung string, err error) {
	var (
		mu       sync.Mutex
		slow     = map[string]bool{}
		failed   error
		answered int
		began    = time.Now()
	)
	for few := range slices.Chunk(h.defs(), slowAtOnce) {
		askEach(few, func(id string) {
			got, t, err := h.vzlist(ctx, min(slowWithin, h.spec.Timeout), fields, id)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil || vzNotFound(t):
				answered++
				rows = append(rows, got...)
				return
			case t.TimedOut:
				slow[id] = true
			}
			failed = err
			key := looseString(id)
			rows = append(rows, vzRow{ID: &key, silent: fmt.Sprintf("vzlist gives no answer about it: %v", err)})
		})
		if answered == 0 && time.Since(began) > h.spec.Timeout {
			break // of so many not one: the others would only take as long
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.slow = slow; answered == 0 || ctx.Err() != nil {
		h.slow = map[string]bool{} // all of it hangs, and nobody in it is to blame
		return nil, "", errors.Join(failed, ctx.Err(), errors.New("asked about one container alone it does not answer either"))
	}
	if len(slow) > 0 {
		hung = fmt.Sprintf("vzlist hangs when it is asked about %s: the others are asked one by one", culprits(sortedKeys(slow)))
	}
	return rows, hung, nil
}

// unheard is a container about which vzlist gives no answer: unknown, and not what it last was.
func (h *vzHost) unheard(id, name, why string) health.Sighting {
	s := health.Sighting{Ref: h.ref(id), Name: tidy(name), State: health.Unknown, Detail: why, At: time.Now()}
	if s.Name == "" {
		s.Name = id
	}
	return s
}

// defs names the containers that have a configuration, or had one when it was last read.
func (h *vzHost) defs() []string {
	ids := map[string]bool{}
	h.mu.Lock()
	for id := range h.confs {
		ids[id] = true
	}
	h.mu.Unlock()
	confs, _ := filepath.Glob(h.file("/etc/vz/conf/*.conf"))
	for _, c := range confs {
		id := strings.TrimSuffix(filepath.Base(c), ".conf")
		if vzNumberRE.MatchString(id) || vzUUIDRE.MatchString(id) {
			ids[id] = true
		}
	}
	return sortedKeys(ids)
}

// vzArea is a private area.
type vzArea struct {
	mark    string    // folderMark; empty: it is not there
	running bool      // it holds .running: see virtuozzo.whyDown
	mod     time.Time // of the folder
}

func readVZArea(path string) vzArea {
	a := vzArea{mark: folderMark(path)}
	if info, err := os.Stat(path); err == nil {
		a.mod = info.ModTime()
	}
	_, err := os.Lstat(filepath.Join(path, ".running"))
	a.running = err == nil
	return a
}

// vzAreaRead is the last answer of a folder that may not answer any more.
type vzAreaRead struct {
	last vzArea
	busy bool // a look at it has not come back
}

// area looks at a container's private area. One on storage that hangs takes nobody else's time: what it was counts, and the
// look at it is left behind, one and no more.
func (h *vzHost) area(id string, global map[string]string) vzArea {
	path := h.private(id, global)
	h.mu.Lock()
	r := h.areas[id]
	if r == nil {
		r = &vzAreaRead{}
		h.areas[id] = r
	}
	last, busy := r.last, r.busy
	r.busy = true
	h.mu.Unlock()
	if busy || path == "" {
		return last
	}
	done := make(chan vzArea, 1)
	go func() {
		a := readVZArea(path)
		h.mu.Lock()
		r.last, r.busy = a, false
		h.mu.Unlock()
		done <- a
	}()
	select {
	case a := <-done:
		return a
	case <-time.After(slowWithin):
		return last
	}
}
