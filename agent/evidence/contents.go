package evidence

import (
	"fmt"
	"strings"
)

// maxListed is how many files the report lists; the manifest lists all.
const maxListed = 80

// contents is the report's last part: which files there are, what each shows, what is missing, and how to check it all.
func contents(p *page, m Manifest) {
	p.section("6. FILES IN THIS ARCHIVE")
	p.text("  ", "before/ was taken at the failure, action/ is what was tried, after/ was taken after that.")
	if m.Part > 1 {
		p.text("  ", fmt.Sprintf("This is part %d of the incident: what was taken before it is in the parts before it.", m.Part))
	}
	p.blank()
	for n, rec := range m.Files {
		if n == maxListed {
			p.text("  ", fmt.Sprintf("(%d more; manifest.json names them all)", len(m.Files)-n))
			break
		}
		p.line("  %-34s %9s   %s", rec.File, bytesWords(rec.Size), took(rec))
		p.text("      ", outline(rec))
	}
	p.line("  %-34s %9s   %s", ManifestName, "", "all of this, for programs")
	p.line("  %-34s %9s   %s", SumsName, "", "digests of all other files")
	missing(p, m)
	p.blank()
	check(p)
	p.blank()
	clock := "was synchronised when this was sealed"
	if !m.Clock.Synchronised {
		clock = "was NOT known to be synchronised when this was sealed"
	}
	p.text("  ", fmt.Sprintf("Times are the host's (UTC%s); its clock %s, at %s. Secrets are replaced by [redacted].",
		m.Clock.UTCOffset, clock, stampOf(m.Sealed)))
	p.text("  ", fmt.Sprintf("Written by Atalaya %s, an agent that watches the containers of this host, starts them "+
		"again when they fail, and keeps what it saw.", orWord(m.Agent, "(unknown version)")))
}

// check says how the digests are checked, on whatever the reader has.
func check(p *page) {
	p.text("  ", "To check that nothing was changed: unpack the archive and run, in its folder,")
	p.line("      sha256sum -c %s", SumsName)
	p.text("  ", "or on Windows, for one file, and compare what it prints with its line in "+SumsName+":")
	p.line("      certutil -hashfile %s SHA256", ReportName)
	p.line("      Get-FileHash %s                  (the same in PowerShell)", ReportName)
	p.text("  ", "The digest of the archive itself is in the alert that came with it.")
}

// took says when a file's content was taken.
func took(rec Record) string {
	if rec.Started.IsZero() {
		return ""
	}
	return fmt.Sprintf("at %+.1f ms", float64(rec.Offset))
}

// outline is a file in one sentence.
func outline(rec Record) string {
	words := []string{rec.Shows}
	if len(rec.Command) > 0 {
		command := strings.Join(rec.Command, " ")
		if !strings.Contains(rec.Shows, command) {
			words = append(words, "command: "+command)
		}
		switch {
		case rec.Exit != nil:
			words = append(words, fmt.Sprintf("exit code %d", *rec.Exit))
		case rec.Signal != "":
			words = append(words, "ended by "+rec.Signal)
		}
	}
	for _, w := range []string{rec.Cut, rec.Note} {
		if w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, "; ")
}

// missing lists what was asked for and could not be had.
func missing(p *page, m Manifest) {
	if len(m.Missing) == 0 && len(m.Notes) == 0 {
		return
	}
	p.blank()
	p.text("  ", "Asked for and not obtained:")
	for n, rec := range m.Missing {
		if n == maxListed {
			p.item(fmt.Sprintf("%d more; manifest.json names them all", len(m.Missing)-n))
			break
		}
		p.item(fmt.Sprintf("%s (%s): %s", rec.Asked, rec.Stage, rec.Missing))
	}
	for _, note := range m.Notes {
		p.item(note)
	}
}
