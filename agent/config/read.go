package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxSize bounds the configuration file, in bytes.
const MaxSize = 1 << 20

// readFile gives the content of a regular file, up to a little more than MaxSize bytes, and its permissions.
func readFile(path string) ([]byte, fs.FileMode, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not blocking: it could be a pipe
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, 0, fmt.Errorf("cannot be read: %w", err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("cannot be read: %w", err)
	}
	if st.IsDir() {
		return nil, 0, errors.New("is a folder: give the path of a file")
	}
	if !st.Mode().IsRegular() {
		return nil, 0, errors.New("is not a regular file (a pipe, a socket or a device)")
	}
	content, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, 0, fmt.Errorf("cannot be read: %w", err)
	}
	return content, st.Mode().Perm(), nil
}

// parse gives the root node of the one document in content, nil where there is none.
func parse(file string, content []byte) (*yaml.Node, *Problem) {
	if len(content) > MaxSize {
		return nil, &Problem{File: file, Msg: fmt.Sprintf("has more than %d bytes", MaxSize)}
	}
	if !utf8.Valid(content) {
		return nil, &Problem{File: file, Line: firstInvalid(content), Msg: "is not UTF-8: save the file in that encoding"}
	}
	d := yaml.NewDecoder(bytes.NewReader(content))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntax(file, content, err)
	}
	if err := d.Decode(&more); err == nil {
		return nil, &Problem{File: file, Line: more.Line, Msg: "a second document begins here: put everything into one, and drop the line ---"}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntax(file, content, err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

func firstInvalid(content []byte) int {
	line := 1
	for len(content) > 0 {
		r, n := utf8.DecodeRune(content)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		content = content[n:]
	}
	return line
}
