package secret

import (
	"bytes"
	"slices"
	"sync"
	"unicode"
)

// MinLength is the length in bytes below which a Set ignores a secret: three bytes stand in any text by chance, and
// cutting them out everywhere would destroy the evidence and tell, by the holes, what the secret is.
const MinLength = 4

// unwrapLength is the length from which a form is also looked for across line breaks and blanks. Shorter ones would be
// found where no secret is.
const unwrapLength = 12

// A Set knows the secrets that must not leave the agent. The zero Set is empty and ready; it is safe for concurrent use.
type Set struct {
	mu    sync.RWMutex
	known []known
}

type known struct {
	value Value
	forms [][]byte
}

// Add makes v known. Secrets shorter than MinLength, and those known already, are ignored.
func (s *Set) Add(v Value) {
	if len(v.Reveal()) < MinLength {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.known, func(k known) bool { return k.value.Equal(v) }) {
		return
	}
	s.known = append(s.known, known{value: v, forms: forms(v.Reveal())})
}

// AddAll makes everything known that another Set knows.
func (s *Set) AddAll(other *Set) {
	other.mu.RLock()
	all := slices.Clone(other.known)
	other.mu.RUnlock()
	for _, k := range all {
		s.Add(k.value)
	}
}

// Redact gives text with every form of every known secret replaced by [redacted]; secrets that overlap or touch become
// one. It never changes its argument, and returns it as it is where nothing was found.
func (s *Set) Redact(text []byte) []byte {
	spans := s.spans(text)
	if len(spans) == 0 {
		return text
	}
	out := make([]byte, 0, len(text))
	at := 0
	for _, p := range spans {
		out = append(out, text[at:p.from]...)
		out = append(out, Redacted...)
		at = p.to
	}
	return append(out, text[at:]...)
}

// Survivors names the sources of the known secrets that text still holds, each once. It looks harder than Redact: also
// for secrets that line breaks or blanks tear apart, as mail and terminals do. What it names must not be sent.
func (s *Set) Survivors(text []byte) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []string
	var joined []byte
	for _, k := range s.known {
		hit := slices.ContainsFunc(k.forms, func(f []byte) bool { return bytes.Contains(text, f) })
		if !hit && len(k.value.Reveal()) >= unwrapLength {
			if joined == nil {
				joined = unwrap(text)
			}
			hit = slices.ContainsFunc(k.forms, func(f []byte) bool { return bytes.Contains(joined, unwrap(f)) })
		}
		if hit && !slices.Contains(found, k.value.Source()) {
			found = append(found, k.value.Source())
		}
	}
	return found
}

// unwrap drops blanks and control characters.
func unwrap(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
}

type span struct{ from, to int }

// spans gives where secrets stand in text: sorted, apart from each other.
func (s *Set) spans(text []byte) []span {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var all []span
	for _, k := range s.known {
		for _, form := range k.forms {
			for at := 0; ; {
				i := bytes.Index(text[at:], form)
				if i < 0 {
					break
				}
				all = append(all, span{at + i, at + i + len(form)})
				at += i + 1 // not behind it: it may overlap itself
			}
		}
	}
	slices.SortFunc(all, func(a, b span) int { return a.from - b.from })
	var merged []span
	for _, p := range all {
		if n := len(merged); n > 0 && p.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, p.to)
			continue
		}
		merged = append(merged, p)
	}
	return merged
}
