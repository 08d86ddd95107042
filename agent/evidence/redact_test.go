package evidence

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
	"atalaya/agent/secret"
)

// Lines as they stand in real logs and configurations: HIDE marks what must go, all else must stay.
var secretLines = []string{
	`password=HIDE`, `DB_PASSWORD=HIDE`, `MYSQL_PWD=HIDE next`, `{"user":"u","password":"HIDE","x":1}`,
	`{"msg":"{\"token\":\"HIDE\",\"x\":1}"}`, `Authorization: HIDE`, `> authorization: HIDE`, `Set-Cookie: HIDE`,
	`"Authorization":"HIDE","x":1`, `api_key = "HIDE"`, `X-Api-Key: HIDE`, `apikey: 'HIDE' # note`, `client_secret=HIDE`,
	`secret_access_key = HIDE`, `GET /?user=u&token=HIDE&page=2 HTTP/1.1`, `mysql --password=HIDE --user=u`,
	`mysql --password HIDE --user u`, `postgres://user:HIDE@db:5432/x`, `amqp://u:HIDE@h and http://host/path@x`,
	`curl -H "Authorization: HIDE" x`, `passphrase: HIDE`, `private_key=HIDE`, `credential => HIDE`,
	`PASSWORD="HIDE with blanks" next`, `Token=HIDE`, `[db]password: HIDE`, `export GITHUB_TOKEN=HIDE`,
	`got bearer HIDE from client`, "-----BEGIN RSA PRIVATE KEY-----HIDE-----END RSA PRIVATE KEY-----",
}

// Lines that only look like it, and that a reader needs.
var innocentLines = []string{
	`PasswordAuthentication no`, `password=`, `password: true`, `use_token=false`, `PWD=/root`, `OLDPWD=/home`,
	`TCP: request_sock_TCP: Possible SYN flooding on port 80. Sending cookies.`, `the secret of success`,
	`http://host:80/path?x=1`, `http://host:80/path@x`, `see http://[::1]:80/`, `user@host:/path`, `lxc-start web1 ERROR start - Failed to exec "/sbin/init"`,
	`Accepted password for root from 10.0.0.1 port 22 ssh2`, `systemd-ask-password-console.path: started`,
	`rx 12 errors 0 tokens 3`, `10.0.0.1:443 -> 10.0.0.2:80`,
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	const hidden = "hunter2-Xy9/+=Qz"
	for _, line := range secretLines {
		for _, frame := range []string{"%", "%\n", "first\r\n%\r\nlast\n", "2026-11-24 host app[1]: %"} {
			text := strings.Replace(frame, "%", strings.ReplaceAll(line, "HIDE", hidden), 1)
			want := strings.Replace(frame, "%", strings.ReplaceAll(line, "HIDE", "[redacted]"), 1)
			got := string(redactPatterns([]byte(text)))
			if strings.Contains(got, "hunter2") {
				t.Errorf("%q survives as %q", text, got)
			}
			if got != want && !strings.Contains(line, "blanks") && !strings.Contains(line, "PRIVATE") {
				t.Errorf("%q became %q, want %q", text, got, want)
			}
			if again := string(redactPatterns([]byte(got))); again != got {
				t.Errorf("%q is redacted again: %q", got, again)
			}
		}
	}
	for _, line := range innocentLines {
		if got := string(redactPatterns([]byte(line))); got != line {
			t.Errorf("%q became %q", line, got)
		}
	}
}

// A key of which a cut took an end is still no longer there.
func TestPartOfAKey(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("MIIEpAIBAAKCAQEA\n", 5)
	for _, text := range []string{
		"x\n-----BEGIN PRIVATE KEY-----\n" + body, body + "-----END PRIVATE KEY-----\ny\n",
		"x\n-----BEGIN EC PRIVATE KEY-----\n" + body + "-----END EC PRIVATE KEY-----\ny\n",
	} {
		if got := string(redactPatterns([]byte(text))); strings.Contains(got, "MIIE") {
			t.Errorf("%q", got)
		}
	}
}

// Whatever the text, redaction ends, changes nothing that it was given, and finds nothing more the second time.
func TestRedactionIsTotal(t *testing.T) {
	t.Parallel()
	piece := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"password", "token", "=", ":", " ", "\"", "\\\"", "'", "://", "@", "Bearer ", "-----BEGIN ", "PRIVATE KEY-----", "-----END ", "\n", "&", "--",
	}))
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(strings.Join(rapid.SliceOfN(piece, 0, 30).Draw(t, "pieces"), ""))
		was := bytes.Clone(text)
		once := redactPatterns(text)
		if !bytes.Equal(text, was) {
			t.Fatalf("%q was changed to %q", was, text)
		}
		if strings.Contains(string(once), "[redacted][redacted]") {
			t.Fatalf("%q became %q", text, once)
		}
	})
}

// A known secret is in no file, no argv, no error, no name, no report and no manifest of a bundle, in whatever form.
func TestKnownSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	const known = `s3cr"et/väl ue+4711`
	set := new(secret.Set)
	set.Add(secret.New(known))
	r := newRecorder(t, func(o *Options) { o.Secrets = set })
	log := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(log, []byte("line with "+known+" in it\nand password=other-one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	q := request(
		Item{Name: "x.log", Path: log}, Item{Name: "name " + known, Data: []byte("x"), Shows: "what " + known},
		Item{Name: "echo", Argv: []string{"echo", known}},
		Item{Name: "fails", Func: func(context.Context) ([]byte, error) { return nil, errors.New("connect with " + known) }},
	)
	q.Reason = known
	c := r.Begin(q)
	c.AddTranscript("t", hostexec.Transcript{Argv: []string{"x", "--password", "flag-one", known}, Started: time.Now(), Stderr: []byte(known)})
	rep := story(time.Now())
	rep.Verdict.Sentence = strings.Repeat("long words before it so that it lies on a line end ", 1) + known
	rep.Tried[0].Answer, rep.Tried[0].Command = known, []string{"x", known}
	rep.Timeline = append(rep.Timeline, Moment{time.Now(), known})
	rep.Incident = health.Incident{Reason: known}
	s, m := seal(t, c, rep)
	for _, rec := range append(m.Files, Record{File: ManifestName}, Record{File: SumsName}) {
		text := content(t, s.Path, rec.File)
		if left := set.Survivors(text); len(left) > 0 || bytes.Contains(text, []byte("other-one")) || bytes.Contains(text, []byte("flag-one")) {
			t.Errorf("%s holds a secret: %s", rec.File, text)
		}
	}
	if rec := m.record(t, "before/x.log"); rec.Redacted != 2 {
		t.Errorf("the manifest counts %d secrets in x.log", rec.Redacted)
	}
	if raw, _ := os.ReadFile(s.Path); bytes.Contains(raw, []byte("4711")) && bytes.Contains(raw, []byte("s3cr")) {
		t.Error("the archive's own names hold it")
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "a\tb\nc": "a b c", "\x1b[31mred\x1b[0m": "red", "\x1b]0;title\x07x": "x", "\x1b]8;;http://x\x1b\\link": "link",
		"\x1b]0;never ended and the rest of the log": "0;never ended and the rest of the log", "\x1bPq#0\x1b\\x": "x", "\x1b": "", "a\x1bcb": "ab",
		"caf\u00e9": "caf\u00e9", "\u202egnp.exe": "gnp.exe", "a\u200bb": "ab", "\xff": "?", "\x9b31m": "?31m", "\u009b31m": "31m", "x\x7fy": "xy",
		"\x1b[999999999999999999999999999999999999999999999999999999999999999999999999m": "999999999999999999999999999999999999999999999999999999999999999999999999m",
		"<script>": "<script>", "\x00": " ",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		got := printable(string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
		for _, r := range got {
			if r < ' ' || hidden(r) {
				t.Fatalf("%q is left", got)
			}
		}
	})
}

// A hostile container's words stay inside their frame in the report: they drive no terminal, begin no section, break no
// line, and mark the file as UTF-8 only where they are not ASCII.
func TestHostileWordsInTheReport(t *testing.T) {
	t.Parallel()
	r := newRecorder(t)
	q := request()
	q.Name = "web1\n1. WHAT IS DOWN\x1b[2J"
	rep := story(time.Now())
	rep.Subject.Name = q.Name
	rep.Tried[0].Answer = "\x1b[2J\r\n4. WHAT TO DO\n" + strings.Repeat("-", 78) + "\nPay here\u202e\n" + strings.Repeat("w", 5000)
	rep.Verdict.Proof = []string{strings.Repeat("\u00fc", 200) + "</script>"}
	s, _ := seal(t, r.Begin(q), rep)
	text := string(content(t, s.Path, ReportName))
	if !strings.HasPrefix(text, "\ufeffINCIDENT REPORT: container web1 1. WHAT IS DOWN on host") {
		t.Errorf("%.100q", text)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\r\n")
		if strings.ContainsAny(line, "\r\n\x1b\u202e") || len([]rune(line)) > width+1 {
			t.Errorf("%q", line)
		}
	}
	if strings.Count(text, "\r\n4. WHAT TO DO") != 1 || !strings.Contains(text, "    | 4. WHAT TO DO") {
		t.Error("a container's words begin a section of ours")
	}
}
