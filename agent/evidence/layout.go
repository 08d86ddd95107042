package evidence

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
)

// The fixed parts of the zip format that are needed here (APPNOTE.TXT 4.3.7, 4.3.12, 4.3.16).
const (
	localSize   = 30
	centralSize = 46
	endSize     = 22
)

// layout checks that the archive is nothing but its files, one after the other: two unpackers that read a zip from its
// two ends must not see two different bundles.
func layout(z *zip.Reader, raw []byte) []string {
	at := int64(0)
	for _, f := range z.File {
		name, data := localHeader(raw, at)
		if name != f.Name {
			return []string{fmt.Sprintf("the archive was rebuilt: at byte %d stands %q, where its directory says %q", at, name, f.Name)}
		}
		if off, err := f.DataOffset(); err != nil || off != data {
			return []string{fmt.Sprintf("the archive was rebuilt: its directory finds %q elsewhere than at byte %d", f.Name, at)}
		}
		at = data + int64(f.CompressedSize64)
	}
	end := at
	for _, f := range z.File {
		end += centralSize + int64(len(f.Name)+len(f.Extra)+len(f.Comment))
	}
	if end+endSize != int64(len(raw)) {
		return []string{fmt.Sprintf("the archive holds %d bytes that belong to no file", int64(len(raw))-end-endSize)}
	}
	return nil
}

// localHeader gives the name in the header at a place, and where the data behind it begins.
func localHeader(raw []byte, at int64) (name string, data int64) {
	if at < 0 || at+localSize > int64(len(raw)) || string(raw[at:at+4]) != "PK\x03\x04" {
		return "", -1
	}
	n := int64(binary.LittleEndian.Uint16(raw[at+26:]))
	extra := int64(binary.LittleEndian.Uint16(raw[at+28:]))
	from := at + localSize
	if from+n+extra > int64(len(raw)) {
		return "", -1
	}
	return string(raw[from : from+n]), from + n + extra
}
