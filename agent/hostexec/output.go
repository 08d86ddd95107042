package hostexec

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// head reads the first max bytes of f, and its true size. The offset, which the command shares, is not touched.
func head(f *os.File, max int) ([]byte, int64) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, 0
	}
	size := info.Size()
	b := make([]byte, min(int64(max), size))
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		n = 0
	}
	return b[:n], size
}

// spareOutput is what an output may occupy beyond what is kept of it.
const spareOutput = 4 << 20

// trim frees what f holds beyond the bytes that are kept, by a hole: its size stays true, and the command goes on writing
// at its end. An output thus occupies at most what is kept, spareOutput, and what is written between two trims.
func trim(f *os.File, max int) {
	info, err := f.Stat()
	if err != nil || info.Size() < int64(max)+spareOutput {
		return
	}
	const page = 4096
	from := (int64(max) + page - 1) / page * page
	// A file system without holes keeps it all; there is nothing better to do with that than go on.
	_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, from, info.Size()-from)
}
