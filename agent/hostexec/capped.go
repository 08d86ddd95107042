package hostexec

import "sync"

// capped keeps the first max bytes written to it and counts all of them. It is safe for concurrent use, because the
// output of an abandoned child is read while the child may still write. The buffer is a named field: io.Copy would find
// a promoted ReadFrom and copy past Write's limit.
type capped struct {
	mu   sync.Mutex
	buf  []byte
	size int64
	max  int
}

// Write never fails and never keeps more than max bytes.
func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size += int64(len(p))
	c.buf = append(c.buf, p[:min(len(p), c.max-len(c.buf))]...)
	return len(p), nil
}

// taken is what was kept so far, and the true size so far.
func (c *capped) taken() ([]byte, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf[:len(c.buf):len(c.buf)], c.size
}
