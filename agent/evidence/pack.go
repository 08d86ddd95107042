package evidence

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"hash/crc32"
	"time"
)

// packed is the content of a file as it will stand in the archive.
type packed struct {
	method uint16
	body   []byte
	crc    uint32
	size   uint64
}

// A packer compresses one file after the other with one compressor, whose tables take a megabyte.
type packer struct {
	w *flate.Writer
}

func newPacker(level int) (*packer, error) {
	w, err := flate.NewWriter(nil, level)
	if err != nil {
		return nil, fmt.Errorf("make the compressor: %w", err)
	}
	return &packer{w: w}, nil
}

// pack compresses data, or keeps it as it is where that is no gain.
func (p *packer) pack(data []byte) (packed, error) {
	out := packed{method: zip.Store, body: data, crc: crc32.ChecksumIEEE(data), size: uint64(len(data))}
	var b bytes.Buffer
	p.w.Reset(&b)
	if _, err := p.w.Write(data); err != nil {
		return out, fmt.Errorf("compress: %w", err)
	}
	if err := p.w.Close(); err != nil {
		return out, fmt.Errorf("compress: %w", err)
	}
	if b.Len() < len(data) {
		out.method, out.body = zip.Deflate, b.Bytes()
	}
	return out, nil
}

func (m *member) pack(p *packer) (err error) {
	m.rec.Size = int64(len(m.data))
	m.packed, err = p.pack(m.data)
	return err
}

// headers is what a file costs in the archive besides its content: two headers, its name twice, its line in SHA256SUMS.
const headers = 30 + 46 + 66

// cost is how many bytes of the archive a member takes.
func (m *member) cost() int64 { return int64(len(m.packed.body)) + headers + 3*int64(len(m.rec.File)) }

// zipVersion is the version of the format that is needed to read a bundle: 2.0, folders and deflate.
const zipVersion = 20

// writeZip renders the archive. The same members and time give the same bytes.
func writeZip(members []*member, at time.Time) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{
			Name: m.rec.File, Method: m.packed.method, CRC32: m.packed.crc, ReaderVersion: zipVersion,
			CompressedSize64: uint64(len(m.packed.body)), UncompressedSize64: m.packed.size,
		}
		h.SetMode(0o600)
		// The fields for which Modified is the better way: CreateRaw writes the header as it is, without that way.
		h.ModifiedDate, h.ModifiedTime = dosTime(at) //nolint:staticcheck // see above
		out, err := w.CreateRaw(h)
		if err == nil {
			_, err = out.Write(m.packed.body)
		}
		if err != nil {
			return nil, fmt.Errorf("pack %q: %w", m.rec.File, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("finish the archive: %w", err)
	}
	return b.Bytes(), nil
}

// dosTime is t as the zip format has it: local, in steps of two seconds, from 1980.
func dosTime(t time.Time) (date, clock uint16) {
	y := min(max(t.Year()-1980, 0), 127)
	return uint16(t.Day() + int(t.Month())<<5 + y<<9),
		uint16(t.Second()/2 + t.Minute()<<5 + t.Hour()<<11)
}
