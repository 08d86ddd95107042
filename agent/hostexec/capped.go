package hostexec

import (
	"slices"
	"sync"
)

// capped keeps the first max bytes written to it and counts all of them. It is safe for concurrent use, because the
// output of an abandoned child is read while the child may still write. The buffer is a named field: io.Copy would find
// a promoted ReadFrom and copy past Write's limit.
type capped struct {
	mu   sync.Mutex
	buf  []byte
	last []byte
	size int64
	max  int
	keep int // how many of the last bytes are kept beside the first ones
}

// Write never fails and never keeps more than max bytes.
func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size += int64(len(p))
	c.buf = append(c.buf, p[:min(len(p), c.max-len(c.buf))]...)
	if c.keep > 0 {
		c.last = append(c.last, p[max(0, len(p)-c.keep):]...)
		c.last = c.last[max(0, len(c.last)-c.keep):]
	}
	return len(p), nil
}

// taken is what was kept so far, and the true size so far.
func (c *capped) taken() ([]byte, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf[:len(c.buf):len(c.buf)], c.size
}

// tail gives the last bytes so far, at most keep.
func (c *capped) tail() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.last)
}
