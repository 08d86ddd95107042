package sentinel

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// maxReads is how often a table is read anew that changes while it is read; each reading takes some 0.1 ms.
const maxReads = 10

// whole reads a table of the kernel. When something changed while it was read, the kernel says that it may be
// inconsistent: then it is read again, because containers start when others do. Should that not come to an end, what was
// read last is taken: each entry is true, and one that is left out is as if nobody had looked.
func whole[T any](list func() ([]T, error)) ([]T, error) {
	for tries := 1; ; tries++ {
		found, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return found, err
		}
		if tries == maxReads {
			return found, nil
		}
	}
}
