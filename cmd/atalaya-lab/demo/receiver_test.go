package demo

import (
	"archive/zip"
	"bytes"
	"fmt"
	"mime/multipart"
	"strings"
	"testing"
)

// zipped makes a bundle of files; its digests are over those that are named.
func zipped(t *testing.T, files map[string]string, named ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	sums := ""
	for _, n := range named {
		sums += sum([]byte(files[n])) + "  " + n + "\n"
	}
	add := func(name, text string) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		add(name, text)
	}
	add(sumsName, sums)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What a receiver must not take for good evidence, and each time says what is wrong.
func TestTheReceiverIsStrict(t *testing.T) {
	files := map[string]string{"REPORT.txt": "T\r\n=\r\n\r\n  It is\r\n  down.\r\n\r\n  Side   x\r\n  Now    up again\r\n         at last\r\n  To do  nothing\r\n", "a.log": "a"}
	good, bare := zipped(t, files, "REPORT.txt", "a.log"), zipped(t, files, "REPORT.txt")
	promised := func(b []byte) string { return fmt.Sprintf(`{"name":"x.zip","sha256":"%s","attached":true}`, sum(b)) }
	for _, c := range []struct {
		name, bundles string
		file          []byte
		wrong         string
	}{
		{"good", promised(good), good, ""},
		{"missing", promised(good), nil, "missing or empty"},
		{"empty", promised(nil), []byte{}, "missing or empty"},
		{"other than in the alert", promised([]byte("other")), good, "the alert says"},
		{"not attached", `{"name":"x.zip","sha256":"","note":"too large"}`, nil, "too large"},
		{"not spoken of", "", good, "does not speak of it"},
		{"a file without digest", promised(bare), bare, `"a.log" has no digest`},
		{"no archive", promised([]byte("PK")), []byte("PK"), "open it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var body bytes.Buffer
			w := multipart.NewWriter(&body)
			err := w.WriteField("alert", `{"kind":"open","delivery":{"bundles":[`+c.bundles+`]}}`)
			if err == nil && c.file != nil {
				f, ferr := w.CreateFormFile("bundle", "x.zip")
				if ferr != nil {
					t.Fatal(ferr)
				}
				_, err = f.Write(c.file)
			}
			if err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			var got received
			r := &receiver{dir: t.TempDir()}
			err = r.parse(w.FormDataContentType(), body.Bytes(), &got)
			switch {
			case c.wrong == "" && err != nil:
				t.Error(err)
			case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
				t.Errorf("%v, want %q", err, c.wrong)
			case c.wrong == "":
				if s, now := got.Bundles[0].verdict(); s != "It is down." || now != "up again at last" || got.Bundles[0].Files != 2 {
					t.Errorf("%q, %q, %+v", s, now, got.Bundles[0])
				}
			}
		})
	}
}
