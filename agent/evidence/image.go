package evidence

import (
	"bytes"
	"fmt"
)

// A picture is bytes of a program of the host, of which the guest decides the colours. Nothing in it is text, so nothing is
// redacted, and a cut would leave nothing to see.

// isImage tells a whole picture by how it begins and, of a PNG, ends (libpng.org/pub/png/spec, netpbm's ppm(5)).
func isImage(data []byte) bool {
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return bytes.HasSuffix(data, []byte("IEND\xaeB`\x82"))
	case bytes.HasPrefix(data, []byte("P6\n")):
		return true
	}
	return false
}

// noImage says why the item is not the picture that it should be; empty when it is, or need be none.
func noImage(i Item, f found) string {
	switch {
	case !i.Image || len(f.data) == 0 || isImage(f.data) && f.size >= 0 && f.size <= MaxImage:
		return ""
	case f.size < 0 || f.size > MaxImage:
		return fmt.Sprintf("a picture of more than %s", bytesWords(MaxImage))
	}
	why := fmt.Sprintf("not a whole picture (PNG or PPM), but %s of something else", bytesWords(int64(len(f.data))))
	if said := printable(string(bytes.TrimSpace(f.stderr[:min(len(f.stderr), 200)]))); said != "" {
		why += ": " + said
	}
	return why
}
