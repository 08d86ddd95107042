package notify

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxWords = 512           // bytes of an answer that are kept for people
	maxAfter = 6 * time.Hour // a receiver may delay us, not silence us
)

// An answerError is an answer that is not a yes.
type answerError struct {
	host, status, words string
	code                int
}

func (e *answerError) Error() string {
	s := fmt.Sprintf("post to %s: %s", e.host, e.status)
	if e.words != "" {
		s += ": " + e.words
	}
	return s
}

// judge tells what to make of an answer: a redirect that is meant for good and most of 4xx stay as they are however often
// one asks; the rest may pass.
func (w *webhook) judge(resp *http.Response, words []byte, now time.Time) error {
	var err error = &answerError{host: w.url.Host, status: resp.Status, code: resp.StatusCode, words: w.words(words)}
	switch code := resp.StatusCode; {
	case code == http.StatusMovedPermanently, code == http.StatusPermanentRedirect:
		return Refused{fmt.Errorf("%w: redirects are not followed: configure the final address", err)}
	case code/100 == 3:
		return fmt.Errorf("%w: redirects are not followed", err)
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code/100 == 5:
		if after := retryAfter(resp.Header.Get("Retry-After"), now); after > 0 {
			return Later{err, after}
		}
		return err
	default:
		return Refused{err}
	}
}

// words makes the beginning of an answer fit to be shown: one line, no control characters, no secrets.
func (w *webhook) words(b []byte) string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(w.secrets.Redact(b)), ""))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxWords {
		s = strings.ToValidUTF8(s[:maxWords], "") + "…"
	}
	return s
}

// retryAfter reads the header, seconds or a date, bounded: a receiver may delay us, not silence us.
func retryAfter(s string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil {
		d = time.Duration(min(max(n, 0), int(maxAfter/time.Second))) * time.Second
	} else if t, err := http.ParseTime(s); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), maxAfter)
}

// withoutURL takes the address off an error of net/http: it may hold a secret, also in a form that no scan knows.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
