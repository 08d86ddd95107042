package demo

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
)

// sumsName is the file of a bundle that holds the digests of all others.
const sumsName = "SHA256SUMS"

// A bundle is one attached part of the evidence, as a stranger sees it.
type bundle struct {
	Path   string // where the receiver put it
	Files  int    // in it, each with the digest that it should have
	Report string // its REPORT.txt
}

// A promise is what the alert says of a bundle.
type promise struct {
	Name     string
	SHA256   string
	Attached bool
	Note     string
}

// parse takes one alert and its attachments apart, and compares what came with what the alert says of it.
func (r *receiver) parse(contentType string, body []byte, got *received) error {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("content type %q: %w", contentType, err)
	}
	if kind != "multipart/form-data" {
		promised, err := alert(body, got)
		if err == nil {
			err = r.compare(promised, nil, got)
		}
		return err
	}
	var promised []promise
	files := map[string][]byte{}
	for parts := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return r.compare(promised, files, got)
		}
		if err != nil {
			return fmt.Errorf("read the parts: %w", err)
		}
		b, err := io.ReadAll(part)
		if err != nil {
			return fmt.Errorf("read part %q: %w", part.FormName(), err)
		}
		if part.FileName() != "" {
			files[part.FileName()] = b
		} else if promised, err = alert(b, got); err != nil {
			return err
		}
	}
}

func alert(b []byte, got *received) ([]promise, error) {
	var doc struct {
		Incident, Kind, Summary string
		Delivery                struct{ Bundles []promise }
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("the alert is no JSON: %w", err)
	}
	got.Incident, got.Kind, got.Summary = doc.Incident, doc.Kind, doc.Summary
	return doc.Delivery.Bundles, nil
}

// compare holds the attachments to the alert: each that it promises is there and has its digest, and there is no other.
func (r *receiver) compare(promised []promise, files map[string][]byte, got *received) error {
	for _, p := range promised {
		b, ok := files[p.Name]
		delete(files, p.Name)
		switch {
		case !p.Attached:
			return fmt.Errorf("the bundle %q is not attached: %s", p.Name, p.Note)
		case !ok || len(b) == 0:
			return fmt.Errorf("the alert promises the bundle %q, and it is missing or empty", p.Name)
		case sum(b) != p.SHA256:
			return fmt.Errorf("the bundle %q has the digest %s, and the alert says %s", p.Name, sum(b), p.SHA256)
		}
		opened, err := open(b)
		if err != nil {
			return fmt.Errorf("the bundle %q: %w", p.Name, err)
		}
		opened.Path = filepath.Join(r.dir, filepath.Base(p.Name))
		if err := os.WriteFile(opened.Path, b, 0o600); err != nil {
			return fmt.Errorf("keep the bundle: %w", err)
		}
		got.Bundles = append(got.Bundles, opened)
	}
	for name := range files {
		return fmt.Errorf("%q is attached, and the alert does not speak of it", name)
	}
	return nil
}

// open checks a bundle with nothing but what is in it: every file has its digest, and every digest its file.
func open(b []byte) (bundle, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return bundle{}, fmt.Errorf("open it: %w", err)
	}
	files := map[string][]byte{}
	for _, f := range z.File {
		if _, twice := files[f.Name]; twice {
			return bundle{}, fmt.Errorf("%q is in it twice", f.Name)
		}
		if files[f.Name], err = unpack(f); err != nil {
			return bundle{}, fmt.Errorf("unpack %q: %w", f.Name, err)
		}
	}
	out := bundle{Report: string(files["REPORT.txt"])}
	sums, ok := files[sumsName]
	delete(files, sumsName)
	if !ok || out.Report == "" {
		return bundle{}, errors.New("it lacks its digests or its report")
	}
	for line := range strings.Lines(string(sums)) {
		want, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		data, there := files[name]
		if !ok || !there || sum(data) != want {
			return bundle{}, fmt.Errorf("%q is not what was sealed", name)
		}
		delete(files, name)
		out.Files++
	}
	for name := range files {
		return bundle{}, fmt.Errorf("%q has no digest", name)
	}
	return out, nil
}

func unpack(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, 16<<20))
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// verdict is the report's first sentence, and how it says that the container is.
func (b bundle) verdict() (sentence, now string) {
	_, rest, _ := strings.Cut(strings.ReplaceAll(b.Report, "\r\n", "\n"), "\n\n")
	head, rest, _ := strings.Cut(rest, "\n\n")
	_, rest, _ = strings.Cut(rest, "  Now ")
	now, _, _ = strings.Cut(rest, "  To do ")
	return strings.Join(strings.Fields(head), " "), strings.Join(strings.Fields(now), " ")
}
