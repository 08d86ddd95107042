package rig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	folderPrefix = "atalaya-lab-"
	bridgePrefix = "atl-"
	maxSlots     = 250
)

// slot is the number a live process holds, with the folder that goes with it.
type slot struct {
	n      int
	socket *net.UnixListener // abstract: taken once per network namespace, gone with its process
	dir    string
	lock   *os.File // on the folder: the same promise to other network namespaces
}

// takeSlot finds a free number, clears what a dead process left under it and makes the folder.
func takeSlot() (*slot, error) {
	for n := 1; n <= maxSlots; n++ {
		s, err := holdSlot(n)
		if errors.Is(err, errHeld) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if subnetTaken(n) {
			s.release()
			continue
		}
		if err := s.makeDir(); err != nil {
			s.release()
			return nil, err
		}
		return s, nil
	}
	return nil, fmt.Errorf("take a rig slot: all %d are held or their subnets in use; see `atalaya-lab sweep`", maxSlots)
}

var errHeld = errors.New("held by a live process")

// holdSlot takes the number and sweeps its leftovers, or says errHeld.
func holdSlot(n int) (*slot, error) {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@atalaya-lab/" + strconv.Itoa(n), Net: "unix"})
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, errHeld
	}
	if err != nil {
		return nil, fmt.Errorf("hold rig slot %d: %w", n, err)
	}
	s := &slot{n: n, socket: ln}
	for _, dir := range leftFolders(n) {
		if err := sweepFolder(dir); err != nil {
			s.release()
			return nil, err
		}
	}
	for _, name := range s.bridges() {
		if err := deleteBridge(name); err != nil {
			s.release()
			return nil, err
		}
	}
	return s, nil
}

func (s *slot) makeDir() error {
	dir, err := os.MkdirTemp("", folderPrefix+strconv.Itoa(s.n)+"-")
	if err != nil {
		return fmt.Errorf("make the rig's folder: %w", err)
	}
	s.dir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("open the rig's folder: %w", err)
	}
	s.lock, err = lockFolder(dir)
	return err
}

// lockFolder takes the folder's lock, or says errHeld.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the rig's folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errHeld
		}
		return nil, fmt.Errorf("lock the rig's folder %q: %w", dir, err)
	}
	return f, nil
}

func (s *slot) bridge() string { return bridgePrefix + strconv.Itoa(s.n) }

// bridges are all that a rig may have made: one may have a second network.
func (s *slot) bridges() []string { return []string{s.bridge(), s.bridge() + "-b"} }

// dhcpBridge is the second of them, where an engine's own software gives the addresses: those of dhcpAddr.
func (s *slot) dhcpBridge() string { return s.bridges()[1] }

func (s *slot) dhcpAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 214, byte(s.n), byte(i)})
}

func (s *slot) subnet() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 213, byte(s.n), 0}), 24)
}

// addr is the i-th address of the slot's subnet; 1 is the bridge's own.
func (s *slot) addr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 213, byte(s.n), byte(i)})
}

func (s *slot) release() {
	if s.lock != nil {
		_ = s.lock.Close()
	}
	_ = s.socket.Close()
}

// leftFolders are the folders of this number, whoever made them.
func leftFolders(n int) []string {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+strconv.Itoa(n)+"-*"))
	return dirs
}

// slotOf reads the number back from a folder's name.
func slotOf(dir string) (int, bool) {
	rest, ok := strings.CutPrefix(filepath.Base(dir), folderPrefix)
	if !ok {
		return 0, false
	}
	num, _, ok := strings.Cut(rest, "-")
	n, err := strconv.Atoi(num)
	return n, ok && err == nil && n >= 1 && n <= maxSlots
}
