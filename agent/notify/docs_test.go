package notify_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"atalaya/agent/notify"
	"atalaya/agent/secret"
	"atalaya/agent/store"
)

// recipe cuts a fenced block out of docs/webhook.md.
func recipe(t *testing.T, language string) string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/webhook.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)\n```" + language + "\n(.*?)\n```\n").FindSubmatch(doc)
	if m == nil {
		t.Fatalf("docs/webhook.md has no block in %s", language)
	}
	return string(m[1])
}

// What the manual tells receivers to do accepts what we send, attachment and all, and nothing else.
func TestRecipesOfTheManual(t *testing.T) {
	s, got := receiver(t)
	c := hook(t, notify.WebhookSpec{Secret: secret.New(signingKey), Attach: true}, s.URL)
	if _, err := c.Send(t.Context(), notify.Message{Alert: testAlert(), Key: "k1", Bundles: []store.Bundle{bundle(t, 1, "PK\x00\xff\r\n")}}); err != nil {
		t.Fatal(err)
	}
	q := got()[0]
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	body, forged := write("body", string(q.body)), write("forged", string(q.body)+" ")
	for _, r := range []struct {
		language string
		argv     []string
	}{
		{"sh", []string{"sh", write("recipe.sh", recipe(t, "sh"))}},
		{"python", []string{"python3", write("recipe.py", recipe(t, "python"))}},
		{"go", []string{"go", "run", write("recipe.go", recipe(t, "go"))}},
	} {
		t.Run(r.language, func(t *testing.T) {
			for _, tool := range []string{r.argv[0], "openssl"} {
				if _, err := exec.LookPath(tool); err != nil && os.Getenv("CI") == "true" {
					t.Fatal(err)
				} else if err != nil {
					t.Skip(err)
				}
			}
			for path, want := range map[string]string{body: "genuine", forged: ""} {
				argv := append(r.argv, signingKey, q.header.Get("webhook-id"), q.header.Get("webhook-timestamp"), q.header.Get("webhook-signature"), path)
				cmd := exec.Command(argv[0], argv[1:]...)
				cmd.Dir = dir
				out, _ := cmd.CombinedOutput()
				if strings.TrimSpace(string(out)) != want {
					t.Errorf("%s: %q, want %q", filepath.Base(path), out, want)
				}
			}
		})
	}
}

// The example in the manual is a document that could have been sent.
func TestExampleOfTheManual(t *testing.T) {
	validDocument(t, []byte(strings.ReplaceAll(recipe(t, "json"), "9f86…", "9f86")))
}
