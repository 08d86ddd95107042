package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"atalaya/agent/evidence"
)

func evidenceCommand(o *options) *cobra.Command {
	return group("evidence", "List, show, export and verify what was kept of incidents",
		evidenceList(o), evidenceShow(o), evidenceExport(o), evidenceVerify(o))
}

func evidenceList(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list [INCIDENT]",
		Short: "List the bundles, newest first",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := o.bundles(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			if o.json() {
				return writeJSON(o.screen.out, list(all))
			}
			if len(all) == 0 {
				fmt.Fprintln(o.screen.out, "no bundles")
				return nil
			}
			t := table{head: []string{"INCIDENT", "PART", "SEALED", "SIZE", "FILE"}}
			for i := len(all) - 1; i >= 0; i-- {
				b := all[i]
				t.add(cell{b.Incident, plain}, cell{fmt.Sprint(b.Part), plain}, cell{moment(b.At), plain}, cell{bytesText(b.Size), plain}, cell{clean(b.Path), plain})
			}
			t.print(o.screen)
			return nil
		},
	}
}

func evidenceShow(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "show BUNDLE|INCIDENT [FILE]",
		Short:   "Print the report of a bundle, or one of its files, without what could drive a terminal",
		Example: "  atalaya evidence show 20260705-140322\n  atalaya evidence show 20260705-140322 manifest.json",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := o.bundle(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			name := ""
			if len(args) == 2 {
				name = args[1]
			}
			return o.show(cmd.Context(), path, name)
		},
	}
}

func evidenceExport(o *options) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "export INCIDENT",
		Short: "Copy the bundles of an incident to a folder, and check the copies",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := o.bundles(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if len(all) == 0 {
				return noBundle(args[0])
			}
			var done []evidence.Verified
			for _, b := range all {
				v, err := export(b.Path, filepath.Join(to, filepath.Base(b.Path)))
				if err != nil {
					return err
				}
				done = append(done, v)
				if !o.json() {
					fmt.Fprintf(o.screen.out, "%s  sha256 %s\n", clean(v.Path), v.SHA256)
				}
			}
			if o.json() {
				return writeJSON(o.screen.out, done)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", ".", "the folder")
	_ = cmd.MarkFlagDirname("to") // only fails for a flag that is not there
	return cmd
}

func evidenceVerify(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE...",
		Short: "Check that bundles are as they were sealed; exits with 1 if one is not, 2 if one cannot be read",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			all := []evidence.Verified{}
			code := exitWell
			for _, path := range args {
				v, is := verify(path)
				switch {
				case is == altered:
					code = exitWrong // what is known to differ is more than what is not known
				case is == unreadable && code == exitWell:
					code = exitUnsure
				}
				all = append(all, v)
				if !o.json() {
					printVerified(o.screen, v, is)
				}
			}
			if o.json() {
				if err := writeJSON(o.screen.out, all); err != nil {
					return err
				}
			}
			if code != exitWell {
				return &ending{code: code}
			}
			return nil
		},
	}
}

// A condition is what verifying says of a bundle.
type condition string

const (
	intact     condition = "intact"
	altered    condition = "ALTERED"
	unreadable condition = "UNREADABLE" // nothing can be said of it
)

func verify(path string) (evidence.Verified, condition) {
	v, err := evidence.Verify(path)
	if err == nil {
		return v, intact
	}
	if _, differs := errorAs[*evidence.Altered](err); differs {
		return v, altered
	}
	v.Path, v.Problems = path, []string{"it cannot be read: " + err.Error()}
	return v, unreadable
}

func printVerified(s screen, v evidence.Verified, is condition) {
	if is == intact {
		fmt.Fprintf(s.out, "%s  %s, %s as sealed, sha256 %s\n", s.paint(green, "intact "), clean(v.Path), plural(v.Files, "file"), v.SHA256)
		return
	}
	st := red
	if is == unreadable {
		st = yellow
	}
	fmt.Fprintf(s.out, "%s  %s\n", s.paint(st, string(is)), clean(v.Path))
	for _, p := range v.Problems {
		fmt.Fprintln(s.out, "         "+clean(p))
	}
}

// bundles gives those whose incident begins with what was typed, by incident and part.
func (o *options) bundles(ctx context.Context, begins string) ([]evidence.Sealed, error) {
	return reading(o, fromFolder, func(r records) ([]evidence.Sealed, error) { return r.Bundles(ctx, begins) })
}

// show prints a file of a bundle. One that only root may read is had from the agent.
func (o *options) show(ctx context.Context, bundle, name string) error {
	err := evidence.Show(bundle, o.screen.out, name)
	if !errors.Is(err, os.ErrPermission) || !o.agentKeeps(ctx, bundle) {
		return err
	}
	b, err := reading(o, fromFolder, func(r records) ([]byte, error) { return r.Bundle(ctx, filepath.Base(bundle)) })
	if err != nil {
		return err
	}
	return evidence.ShowContent(b, bundle, o.screen.out, name)
}

// agentKeeps tells whether a file is one of the agent's bundles, which it gives to whoever may use its socket. Another file
// that may not be read is never answered with the agent's file of the same name.
func (o *options) agentKeeps(ctx context.Context, path string) bool {
	all, err := o.bundles(ctx, "")
	abs, err2 := filepath.Abs(path)
	return err == nil && err2 == nil && slices.ContainsFunc(all, func(b evidence.Sealed) bool { return b.Path == abs })
}

// bundle finds a bundle by its file, or the newest one of an incident.
func (o *options) bundle(ctx context.Context, name string) (string, error) {
	if strings.HasSuffix(name, ".zip") || strings.ContainsRune(name, filepath.Separator) {
		return name, nil
	}
	all, err := o.bundles(ctx, name)
	switch {
	case err != nil:
		return "", err
	case len(all) == 0:
		return "", noBundle(name)
	}
	last := all[len(all)-1]
	for _, b := range all {
		if b.Incident != last.Incident {
			return "", fmt.Errorf("%q begins several incidents, %s and %s among them", name, b.Incident, last.Incident)
		}
	}
	if len(all) > 1 {
		o.say("this is the newest of %d parts; 'atalaya evidence list %s' lists them", len(all), last.Incident)
	}
	return last.Path, nil
}

func noBundle(name string) error {
	return fmt.Errorf("there is no bundle of an incident %q; 'atalaya evidence list' lists them", name)
}

// export copies one bundle to a file that must not be there yet, and verifies the copy.
func export(from, to string) (evidence.Verified, error) {
	in, err := os.Open(from)
	if err != nil {
		return evidence.Verified{}, fmt.Errorf("export %q: %w", from, err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return evidence.Verified{}, fmt.Errorf("export %q: %w", from, err)
	}
	digest := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, digest), in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return evidence.Verified{}, fmt.Errorf("export %q to %q: %w", from, to, err)
	}
	v, err := evidence.Verify(to)
	if err == nil && v.SHA256 != hex.EncodeToString(digest.Sum(nil)) {
		err = fmt.Errorf("export %q to %q: what is on disk is not what was written", from, to)
	}
	return v, err
}
