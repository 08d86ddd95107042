package sentinel

import (
	"os"

	"golang.org/x/sys/unix"
)

// This file reads small files of /proc with three system calls each. os.ReadFile takes seven (it stats, registers with the
// poller, and reads on until the end), which counts when every process of a host is read at a death.

const errNoProcess = unix.ESRCH // what reading a file of /proc/PID answers when the process went between open and read

// smallFile is more than any line of /proc/PID/stat: 52 numbers and a name of 64 bytes.
const smallFile = 2048

func readSmall(path string) ([]byte, error) {
	fd, err := openRead(unix.AT_FDCWD, path)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, smallFile)
	n, err := readAgain(fd, buf)
	if err != nil {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return buf[:n], nil
}

func openRead(dir int, path string) (int, error) {
	for {
		fd, err := unix.Openat(dir, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// readAgain reads once, and again when a signal came between.
func readAgain(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}
