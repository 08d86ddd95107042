package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"atalaya/agent/secret"
)

const odd = `p/w"d <1>&ä+?=`

// wrap gives the texts in which a secret is likely to turn up.
func wrap(s string) map[string]string {
	j, _ := json.Marshal(map[string]string{"key": s})
	return map[string]string{
		"exact":      "key=" + s + ";",
		"base64":     "x " + base64.StdEncoding.EncodeToString([]byte(s)) + " y",
		"base64 raw": "x " + base64.RawStdEncoding.EncodeToString([]byte(s)) + " y",
		"base64 url": "x " + base64.URLEncoding.EncodeToString([]byte(s)) + " y",
		"query":      "https://h/?k=" + url.QueryEscape(s) + "&z=1",
		"path":       "https://h/" + url.PathEscape(s) + "/z",
		"small":      "https://h/" + regexp.MustCompile("%..").ReplaceAllStringFunc(url.PathEscape(s), strings.ToLower) + "/z",
		"json":       string(j),
		"go":         fmt.Sprintf("%q", s),
		"html":       "<td>" + html.EscapeString(s) + "</td>",
	}
}

func TestRedactFindsEveryForm(t *testing.T) {
	for _, s := range []string{odd, "plain-secret", "äöü-ßßß", "four", `ends in "`, "new\nline"} {
		var set secret.Set
		set.Add(secret.New(s))
		for form, in := range wrap(s) {
			if len(set.Survivors([]byte(in))) != 1 {
				t.Errorf("%q as %s is not seen in %q", s, form, in)
			}
			out := set.Redact([]byte(in))
			if !bytes.Contains(out, []byte(secret.Redacted)) || len(set.Survivors(out)) != 0 {
				t.Errorf("%q as %s survives in %q", s, form, out)
			}
		}
	}
}

func TestBasicAuthorizationIsRedacted(t *testing.T) {
	var set secret.Set
	set.Add(secret.New("hunter2-hunter2"))
	for _, user := range []string{"a", "ab", "abc", "abcd"} {
		in := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":hunter2-hunter2"))
		out := string(set.Redact([]byte(in)))
		code := strings.Split(strings.TrimPrefix(out, "Authorization: Basic "), secret.Redacted)
		if len(code) != 2 || len(code[0])+len(code[1]) > 11 {
			t.Errorf("user %s: %s", user, out)
		}
	}
}

func TestRedactKeepsTheRest(t *testing.T) {
	var set secret.Set
	set.Add(secret.New("abcd1234"))
	set.Add(secret.New("1234efgh"))
	set.Add(secret.New("abc")) // too short
	set.Add(secret.Value{})
	for in, want := range map[string]string{
		"nothing here, abc":      "nothing here, abc",
		"<abcd1234efgh>":         "<[redacted]>", // they overlap: no half is left
		"<abcd1234><abcd1234>":   "<[redacted]><[redacted]>",
		"abcd1234abcd1234":       "[redacted]",
		"":                       "",
		"abcd123 and 1234efg":    "abcd123 and 1234efg",
		"\xff\xfeabcd1234\x00..": "\xff\xfe[redacted]\x00..",
	} {
		given := []byte(in)
		if got := string(set.Redact(given)); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
		if string(given) != in {
			t.Errorf("Redact changed its argument to %q", given)
		}
	}
}

func TestSurvivorsLooksAcrossLines(t *testing.T) {
	var set secret.Set
	t.Setenv("SECRET_TEST_TORN", "a-long-secret-text")
	v, err := secret.Load("env:SECRET_TEST_TORN")
	if err != nil {
		t.Fatal(err)
	}
	set.Add(v)
	set.Add(v)
	set.Add(secret.New("unseen-secret"))
	got := set.Survivors([]byte("password is a-long-\r\n   secret-text"))
	if !slices.Equal(got, []string{"env:SECRET_TEST_TORN"}) {
		t.Errorf("survivors %q", got)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", &set, &set), "secret-text") {
		t.Error("a printed Set shows its secrets")
	}
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	var set secret.Set
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				s := fmt.Sprintf("secret-%d-%d", i, j)
				set.Add(secret.New(s))
				if got := set.Redact([]byte("<" + s + ">")); string(got) != "<[redacted]>" {
					t.Errorf("%q", got)
				}
			}
		})
	}
	wg.Wait()
}

// Whatever the secret and the text around it, nothing that Survivors sees is left.
func TestRedactLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringN(4, 20, 40).Draw(t, "secret")
		var set secret.Set
		set.Add(secret.New(s))
		around := rapid.StringN(0, 20, 40).Draw(t, "around")
		for form, in := range wrap(s) {
			out := set.Redact([]byte(around + in + around))
			if bytes.Contains(out, []byte(s)) && !strings.Contains(secret.Redacted, s) && !strings.Contains(around, s) {
				t.Fatalf("%s: %q survives in %q", form, s, out)
			}
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	var set secret.Set
	for i := range 10 {
		set.Add(secret.New(fmt.Sprintf("some-secret-%d-value", i)))
	}
	text := bytes.Repeat([]byte("Nov 24 03:23:01 host kernel: eth0: link becomes ready\n"), 256<<10/54)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		set.Redact(text)
	}
}

// TestAddAll: what another set knows is known, too, and what was known stays so.
func TestAddAll(t *testing.T) {
	var old, now secret.Set
	old.Add(secret.New("hunter2-old"))
	now.Add(secret.New("hunter2-new"))
	old.AddAll(&now)
	old.AddAll(&now)
	if got := string(old.Redact([]byte("hunter2-old, hunter2-new"))); got != secret.Redacted+", "+secret.Redacted {
		t.Errorf("%q", got)
	}
}
