package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"atalaya/agent/schedule"
)

// The checks of single texts. Their errors complete "KEY: …".

// maxName bounds names of things that people give, in bytes.
const maxName = 63

// word is a name that is safe in messages, metrics, file names and references such as lxc:backup/web1.
// patience accepts a duration, or never.
func patience(s string) error {
	if s == "never" {
		return nil
	}
	_, err := parseDuration(s)
	return err
}

func word(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	if len(s) > maxName {
		return fmt.Errorf("has %d bytes, more than %d", len(s), maxName)
	}
	for i, r := range s {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && (r == '_' || r == '-' || r == '.') {
			continue
		}
		return fmt.Errorf("%q is not a name: use letters, digits and, after the first, . _ -", s)
	}
	return nil
}

// maxLine bounds other texts, in bytes.
const maxLine = 4096

func oneLine(s string) error {
	if len(s) > maxLine {
		return fmt.Errorf("has %d bytes, more than %d", len(s), maxLine)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%q has a control character or a line break in it", s)
	}
	return nil
}

// argument is one element of an argv: anything that execve takes.
func argument(s string) error {
	if strings.ContainsRune(s, 0) {
		return fmt.Errorf("%q has a NUL in it", s)
	}
	if len(s) > maxLine {
		return fmt.Errorf("has %d bytes, more than %d", len(s), maxLine)
	}
	return nil
}

func absolute(s string) error {
	if err := oneLine(s); err != nil {
		return err
	}
	if !filepath.IsAbs(s) {
		return fmt.Errorf("%q is not an absolute path", s)
	}
	return nil
}

// maxCertificates bounds a file of certificates, in bytes: the system's own has a quarter of it.
const maxCertificates = 1 << 20

// certificates keeps those who read the file whole from devices, pipes and disk images.
func certificates(s string) error {
	if err := absolute(s); err != nil {
		return err
	}
	st, err := os.Stat(s)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%q does not exist", s)
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%q is not a regular file", s)
	case st.Size() > maxCertificates:
		return fmt.Errorf("%q has %s, more than %s", s, formatSize(st.Size()), formatSize(maxCertificates))
	}
	return nil
}

// socketPath knows the bound of sockaddr_un, 108 bytes with the NUL at its end: unix(7).
func socketPath(s string) error {
	if err := absolute(s); err != nil {
		return err
	}
	if len(s) > 107 {
		return fmt.Errorf("%q has %d bytes, and the kernel takes 107 for a socket", s, len(s))
	}
	return nil
}

func glob(s string) error {
	if s == "" {
		return errors.New(`is empty: write "*" for all`)
	}
	if _, err := path.Match(s, ""); err != nil {
		return fmt.Errorf("%q is not a pattern: a [ has no ], or a \\ stands at its end", s)
	}
	return oneLine(s)
}

func pattern(s string) error {
	if _, err := regexp.Compile(s); err != nil {
		return fmt.Errorf("%q is not a regular expression: %s", s, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if !utf8.ValidString(s) || len(s) > maxLine {
		return fmt.Errorf("has %d bytes, more than %d", len(s), maxLine)
	}
	return nil
}

// off is what people write to have no listener.
const off = "off"

// hostAndPort accepts a name or an address with a port.
func hostAndPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return fmt.Errorf(`%q is not HOST:PORT, as in one.one.one.one:443 or "[2606:4700:4700::1111]:443"`, s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port, from 1 to 65535", port)
	}
	return nil
}

func listenAddress(s string) error {
	if s == off {
		return nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf(`%q is not ADDRESS:PORT, as in 127.0.0.1:9745 or "[::1]:9745", and not off`, s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && port != "0" {
		return fmt.Errorf("%q is not a port, from 1 to 65535", port)
	}
	if host == "" || host == "localhost" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("%q is not an IP address", host)
	}
	return nil
}

func cronSpec(s string) error {
	_, err := schedule.ParseSpec(s, nil)
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), "schedule "))
}
