package evidence

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// maxName is the length of a file name in bytes; with its folder it fits every system that may unpack it.
const maxName = 80

// readable are the endings with which a double click opens a text, or a picture; other names get ".txt".
var readable = []string{".txt", ".log", ".json", ".csv", ".html", ".png", ".ppm"}

// reserved are names that Windows keeps for devices, whatever their ending.
var reserved = []string{
	"CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
	"LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
}

// safeName makes a file name of whatever an item is called: one element of a path, in characters that mean nothing to
// any shell, archiver or file system.
func safeName(name string) string {
	s := strings.Trim(strings.Map(safeRune, name), ".-_")
	ext := strings.ToLower(path.Ext(s))
	if !slices.Contains(readable, ext) {
		ext = ".txt"
	} else {
		s = s[:len(s)-len(ext)]
	}
	s = strings.TrimRight(s[:min(len(s), maxName-len(ext))], ".-_")
	if s == "" {
		s = "unnamed"
	}
	base, _, _ := strings.Cut(s, ".")
	if slices.Contains(reserved, strings.ToUpper(base)) {
		s = "_" + s
	}
	return s + ext
}

func safeRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
		return r
	case r == '/': // the caller's grouping: "probes/http.txt" is probes-http.txt
		return '-'
	}
	return '_'
}

// A namer gives out each file name once, also where upper and lower case are the same.
type namer map[string]bool

func (n namer) give(s stage, name string) string {
	name = safeName(name)
	ext := path.Ext(name)
	base := strings.TrimSuffix(name, ext)
	for i := 2; ; i++ {
		full := string(s) + "/" + name
		if key := strings.ToLower(full); !n[key] {
			n[key] = true
			return full
		}
		name = base + "-" + strconv.Itoa(i) + ext
	}
}

// safeStem makes the beginning of a bundle's file name of an incident's id.
func safeStem(id string) string {
	s := strings.Trim(strings.Map(safeRune, id), ".-_")
	if s = s[:min(len(s), maxName)]; s == "" {
		return "incident"
	}
	return s
}
