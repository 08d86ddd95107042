package notify

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"atalaya/agent/store"
)

// A payload is the exact bytes of a request body, some in memory and some in files that stay open, so that it can be read
// twice, for the signature and for the wire, without ever being in memory as a whole.
type payload struct {
	contentType string
	size        int64
	segments    []*io.SectionReader
	files       []*os.File
}

func (p *payload) reader() io.Reader {
	var rs []io.Reader
	for _, s := range p.segments {
		rs = append(rs, io.NewSectionReader(s, 0, s.Size()))
	}
	return io.MultiReader(rs...)
}

func (p *payload) close() {
	for _, f := range p.files {
		f.Close()
	}
}

func (p *payload) add(r io.ReaderAt, size int64) {
	p.segments = append(p.segments, io.NewSectionReader(r, 0, size))
	p.size += size
}

func jsonPayload(doc []byte) *payload {
	p := &payload{contentType: "application/json"}
	p.add(bytes.NewReader(doc), int64(len(doc)))
	return p
}

// An attachment is an open bundle whose content was found to be what was sealed.
type attachment struct {
	name string
	size int64
	f    *os.File
}

// multipartPayload is the JSON as the part "alert", and each bundle as a part "bundle". It takes over the files.
func multipartPayload(doc []byte, as []attachment) (*payload, error) {
	p := &payload{}
	for _, a := range as {
		p.files = append(p.files, a.f)
	}
	var head bytes.Buffer
	w := multipart.NewWriter(&head)
	p.contentType = w.FormDataContentType()
	part := func(name, filename, contentType string) (io.Writer, error) {
		h := textproto.MIMEHeader{}
		disposition := fmt.Sprintf(`form-data; name="%s"`, name)
		if filename != "" {
			disposition += fmt.Sprintf(`; filename="%s"`, filename) // a safeName: nothing to escape
		}
		h.Set("Content-Disposition", disposition)
		h.Set("Content-Type", contentType)
		return w.CreatePart(h)
	}
	flush := func() {
		b := bytes.Clone(head.Bytes())
		head.Reset()
		p.add(bytes.NewReader(b), int64(len(b)))
	}
	alert, err := part("alert", "", "application/json")
	if err == nil {
		_, err = alert.Write(doc)
	}
	for _, a := range as {
		if err == nil {
			_, err = part("bundle", a.name, "application/zip")
			flush()
			p.add(a.f, a.size)
		}
	}
	if err = errors.Join(err, w.Close()); err != nil {
		p.close()
		return nil, fmt.Errorf("encode multipart/form-data: %w", err)
	}
	flush()
	return p, nil
}

// openBundle opens a bundle for attaching. What is no longer what was sealed is never sent.
func openBundle(b store.Bundle) (attachment, error) {
	f, err := os.OpenFile(b.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return attachment{}, fmt.Errorf("it cannot be read: %w", err)
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err == nil && b.SHA256 != "" && !strings.EqualFold(hex.EncodeToString(h.Sum(nil)), strings.TrimPrefix(b.SHA256, "sha256:")) {
		err = errors.New("the file is not what was sealed: its digest differs")
	}
	if err != nil {
		f.Close()
		return attachment{}, err
	}
	return attachment{safeName(b.Path[strings.LastIndexByte(b.Path, '/')+1:]), n, f}, nil
}
