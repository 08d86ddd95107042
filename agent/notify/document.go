package notify

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/store"
)

// A document is what machines get: the alert, and beside it how it travels. docs/webhook.md describes it and
// docs/alert.v1.schema.json is its schema.
type document struct {
	health.Alert
	Delivery delivery `json:"delivery"`
}

type delivery struct {
	Key     string        `json:"key"`     // the same at every try
	Attempt int           `json:"attempt"` // 1, 2, …
	SentAt  time.Time     `json:"sent_at"`
	LateMs  health.Millis `json:"late_ms,omitempty"`
	Late    string        `json:"late,omitempty"` // "delivered 3 h 12 min late"
	Bundles []parcel      `json:"bundles,omitempty"`
}

// A parcel is one bundle as the receiver knows it. Without URL, Path or Attached it is on the host only, and Note may say why.
type parcel struct {
	Part     int       `json:"part"`
	Audience string    `json:"audience,omitempty"`
	Name     string    `json:"name"`
	SHA256   string    `json:"sha256"`
	Size     int64     `json:"size"`
	Sealed   time.Time `json:"sealed_at"`
	URL      string    `json:"url,omitempty"`
	Path     string    `json:"path,omitempty"`
	Attached bool      `json:"attached,omitempty"` // as the part "bundle" with this filename
	Note     string    `json:"note,omitempty"`
}

func newDocument(m Message, now time.Time) document {
	d := document{Alert: m.Alert, Delivery: delivery{Key: m.Key, Attempt: m.Tries + 1, SentAt: now.Round(0)}}
	if m.Late > 0 {
		d.Delivery.LateMs, d.Delivery.Late = health.ToMillis(m.Late), lateness(m.Late)
	}
	return d
}

func newParcel(b store.Bundle) parcel {
	return parcel{Part: b.Part, Audience: b.Audience, Name: safeName(filepath.Base(b.Path)),
		SHA256: strings.TrimPrefix(b.SHA256, "sha256:"), Size: b.Size, Sealed: b.Sealed.Round(0)}
}

// safeName is a file name that no header, path or terminal can misread.
func safeName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, s)
}

// lateness says how late in the two largest units.
func lateness(d time.Duration) string {
	d = d.Round(time.Minute)
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case days > 0:
		return fmt.Sprintf("delivered %d d %d h late", days, hours)
	case hours > 0:
		return fmt.Sprintf("delivered %d h %d min late", hours, minutes)
	default:
		return fmt.Sprintf("delivered %d min late", max(minutes, 1))
	}
}
