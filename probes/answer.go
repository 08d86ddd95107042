package probes

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"atalaya/agent/secret"
)

const (
	maxHead   = 64 << 10 // bytes of a response's head; more is an answer of no good
	headKept  = 4 << 10  // bytes of it that the transcript keeps
	bodyKept  = 2 << 10  // bytes of the body that the transcript keeps
	maxInform = 8        // informational (1xx) responses before the answer
)

// An answer is what came back for one request.
type answer struct {
	method string
	peer   netip.Addr // who gave it
	status int
	header http.Header
	body   []byte // its first bytes: all that was read where it is searched, else bodyKept and the margin
	size   int64  // how much of it was read
	more   bool   // the cap was reached
	headed int    // bytes of the head
	margin int    // so many bytes more than are shown are kept, so that no secret is cut before it is redacted
	tap    tap
}

// A tap reads from a connection, keeps the first bytes as they were, and bounds the rest.
type tap struct {
	from  io.Reader
	left  int       // so much may still be read
	keep  int       // so many bytes are kept
	kept  []byte    //
	total int       // bytes read
	first time.Time // when the first came
	err   error     // that of the connection, or errTooMuch
}

var errTooMuch = errors.New("the answer's head is larger than 64 KiB")

// Read is io.Reader's.
func (r *tap) Read(p []byte) (int, error) {
	if r.left <= 0 {
		r.err = errTooMuch
		return 0, r.err
	}
	n, err := r.from.Read(p[:min(len(p), r.left)])
	if n > 0 && r.total == 0 {
		r.first = time.Now()
	}
	r.left -= n
	r.total += n
	if err != nil {
		r.err = err
	}
	if room := r.keep - len(r.kept); room > 0 {
		r.kept = append(r.kept, p[:min(n, room)]...)
	}
	return n, err
}

// read takes the answer from the connection: its head, and its body up to limit bytes.
func (a *answer) read(limit int, search bool) error {
	in := bufio.NewReaderSize(&a.tap, 2<<10)
	resp, err := a.head(in)
	if err != nil {
		if a.tap.err != nil {
			return a.tap.err // what the parser makes of half a line explains less
		}
		return err
	}
	defer resp.Body.Close()
	a.status, a.header = resp.StatusCode, resp.Header
	a.headed = a.tap.total - in.Buffered()
	// From here the body's own cap holds. Chunks of one byte come with five more; http bounds that overhead too.
	a.tap.left = math.MaxInt
	keep := bodyKept + a.margin
	if search {
		keep = max(keep, limit)
	}
	return a.drain(resp, limit, keep)
}

// head reads the status line and headers of the answer, past informational ones.
func (a *answer) head(in *bufio.Reader) (*http.Response, error) {
	for range maxInform {
		resp, err := http.ReadResponse(in, &http.Request{Method: a.method})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
	return nil, fmt.Errorf("more than %d informational answers", maxInform)
}

// drain reads the body to its end or to limit. The first keep bytes of it stay.
func (a *answer) drain(resp *http.Response, limit, keep int) error {
	size := 512
	if resp.ContentLength >= 0 {
		size = int(min(resp.ContentLength, int64(keep), DefaultBodyCap)) + 1 // one more, to meet the end without growing
	}
	a.body = make([]byte, 0, size)
	var spare []byte
	for a.size < int64(limit) {
		room := a.body[len(a.body):min(cap(a.body), keep)]
		if len(room) == 0 && len(a.body) < keep {
			a.body = append(make([]byte, 0, min(4*cap(a.body), keep)), a.body...)
			continue
		}
		if len(room) == 0 {
			if spare == nil {
				spare = make([]byte, 4<<10)
			}
			room = spare
		}
		n, err := resp.Body.Read(room[:min(int64(len(room)), int64(limit)-a.size)])
		a.size += int64(n)
		if len(a.body) < keep {
			a.body = a.body[:len(a.body)+n]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	a.more = true
	return nil
}

// reached says how far the answer came that did not come whole.
func (a *answer) reached() string {
	if a.headed == 0 {
		return ""
	}
	return " (" + strconv.Itoa(a.status) + "), " + strconv.FormatInt(a.size, 10) + " bytes into the body"
}

// location is where the answer redirects to; empty when it does not.
func (a *answer) location() string {
	switch a.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect,
		http.StatusPermanentRedirect:
		return a.header.Get("Location")
	}
	return ""
}

// log writes what came into the transcript. What was no HTTP is shown as it came.
func (a *answer) log(t *trial, secrets *secret.Set) {
	head, of := a.tap.kept, a.tap.total
	if a.headed > 0 {
		head, of = head[:min(len(head), a.headed)], a.headed
	}
	if of == 0 {
		t.log.add("--- no answer\n")
		return
	}
	t.log.add("--- answer\n")
	a.show(t, head, headKept, int64(of), secrets)
	a.show(t, a.body, bodyKept, a.size, secrets)
	if a.more {
		t.log.add("[the body goes on, and was not read further]\n")
	}
}

// show writes the first limit bytes of kept, which is the beginning of what was of bytes long, without secrets.
func (a *answer) show(t *trial, kept []byte, limit int, of int64, secrets *secret.Set) {
	shown := kept[:min(len(kept), limit+a.margin)]
	whole := int64(len(shown)) == of
	if secrets != nil {
		shown = secrets.Redact(shown)
		if !whole { // the last bytes may be the first ones of a secret that is not there to its end
			shown = shown[:max(len(shown)-a.margin, 0)]
		}
	}
	cut := !whole || len(shown) > limit
	_, _ = t.log.Write(shown[:min(len(shown), limit)])
	if cut {
		t.log.add("\n[cut here: the first ", strconv.Itoa(min(len(shown), limit)), " of ", strconv.FormatInt(of, 10), " bytes that were read]")
	}
	if len(shown) > 0 && !bytes.HasSuffix(shown, []byte("\n")) || cut {
		t.log.add("\n")
	}
}
