package engine

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"atalaya/agent/health"
	"atalaya/agent/hostexec"
)

// openvz/vzlist-full.json is samples/vzlist-full.json, whole: all fields of a vzlist that was really run.
func TestVZListFull(t *testing.T) {
	t.Parallel()
	rows, err := parseVZList(fixture(t, "openvz/vzlist-full.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%s %q %s %v %s %v", *r.ID, r.Name, r.Status, []string(r.IP), r.OnBoot, r.Disabled))
	}
	want := `101 "web1" running [10.0.0.101 10.0.1.101] true false`
	if len(got) == 0 || got[0] != want {
		t.Errorf("%q", got)
	}
}

func TestVZListTakesWhatItMeans(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"[\n]\n": "0 rows",
		`[{"ctid":101,"status":"running","onboot":null,"ip":[]}]`:                                      "101 running  []",
		`[{"ctid":"101","status":"running","onboot":"yes","ip":"10.0.0.1, 10.0.0.2","new":{"a":[1]}}]`: "101 running yes [10.0.0.1 10.0.0.2]",
		`[{"ctid":101,"numproc":1,"status":"stopped","numproc":2,"onboot":true,"ip":null}]`:            "101 stopped true []",
		``:                                 "error",
		" \n":                              "error",
		`{}`:                               "error",
		`[{"status":"running"}]`:           "error",
		`[{"ctid":null}]`:                  "error",
		`[{"ctid":101,"status":"running"}`: "error",
	} {
		rows, err := parseVZList([]byte(in))
		got := fmt.Sprint(len(rows), " rows")
		switch {
		case err != nil:
			got = "error"
		case len(rows) == 1:
			got = fmt.Sprintf("%s %s %s %v", *rows[0].ID, rows[0].Status, rows[0].OnBoot, []string(rows[0].IP))
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", in, got, err, want)
		}
	}
	if _, err := parseVZList(fixture(t, "openvz/vzlist-unescaped-quote.INVALID.json")); err == nil {
		t.Error("invalid JSON was taken")
	}
}

// The table of samples/vzlist-session.txt, in three of its columns.
func TestVZTable(t *testing.T) {
	t.Parallel()
	rows, err := parseVZTable([]byte("       101 running   10.0.0.101 10.0.1.101\n       103 stopped   -\n       106 suspended -\n"))
	if err != nil || len(rows) != 3 || len(rows[0].IP) != 2 || rows[1].IP != nil || rows[2].Status != "suspended" {
		t.Errorf("%+v, %v", rows, err)
	}
	for _, bad := range []string{"", "       101 running\n", "       101 running   10.0.0", "       101 running   ten\n"} {
		if rows, err := parseVZTable([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, rows)
		}
	}
}

// openvz/vzctl.log is samples/vzctl.log, whole.
func TestVZLog(t *testing.T) {
	t.Parallel()
	last := parseVZLog(fixture(t, "openvz/vzctl.log"))
	at := func(s string) time.Time { at, _ := time.Parse(time.RFC3339, s); return at }
	for id, want := range map[string]vzStop{"105": {}, "999": {}, "107": {}} {
		if last[id] != want {
			t.Errorf("%s: %+v", id, last[id])
		}
	}
	if s := last["102"]; !s.stopped || s.how != "Killing container ..." || s.at.Before(at("2026-11-23T15:52:05Z")) {
		t.Errorf("102: %+v", s)
	}
	line := func(s string) string { return "2026-11-23T15:52:05+0000 vzctl : CT 7 : " + s + "\n" }
	for name, tt := range map[string]struct {
		lines []string
		want  bool
	}{
		"stopped":               {[]string{"Stopping container ...", "Killing container ...", "Container was stopped"}, true},
		"restarted":             {[]string{"Restarting container", "Stopping container ...", "Container was stopped", "Starting container...", "Container start in progress..."}, false},
		"restart, start failed": {[]string{"Restarting container", "Stopping container ...", "Container was stopped", "Starting container...", "Container start failed", "Killing container ...", "Container was stopped"}, false},
		"start failed":          {[]string{"Starting container...", "Container start failed", "Killing container ...", "Container was stopped"}, false},
		"could not be stopped":  {[]string{"Killing container ...", "Unable to stop container: operation timed out"}, false},
		"mounted since":         {[]string{"Stopping container ...", "Container was stopped", "Container is mounted"}, true},
	} {
		var log string
		for _, l := range tt.lines {
			log += line(l)
		}
		if got := parseVZLog([]byte(log))["7"].stopped; got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Every code that FACTS §1 and §2 list has words, and none stands for two things in one table.
func TestVZCodes(t *testing.T) {
	t.Parallel()
	four, seven := vzCodes(), vz7Codes()
	for _, c := range strings.Fields("1 2 3 5 6 7 8 9 10 11 12 13 14 15 16 17 18 20 21 22 23 24 28 29 31 32 33 34 35 36 40 41 43 44 46 47 48 49 50 51 52 53 60 61 62 63 64 65 66 67 70 71 74 78 79 82 85 86 89 91 99 100 104 105 106 107 108 109 129 130 131 133 139 144 148 150 151 152 153 154 155 156 157 158 159 160 161 166 167") {
		n, _ := strconv.Atoi(c)
		if four[n] == "" {
			t.Errorf("vzctl 4: %d has no meaning", n)
		}
	}
	for _, c := range strings.Fields("4 12 19 25 26 30 39 42 88 92 94 131 135 136 137 138 140 141 142 162 163 164 206 207 209 213 226 228 231 232 233") {
		n, _ := strconv.Atoi(c)
		if seven[n] == "" || seven[n] == four[n] && n != 12 {
			t.Errorf("vzctl 7: %d: %q", n, seven[n])
		}
	}
	for code, words := range seven {
		a := readVZAnswer(seven)(hostexec.Transcript{Argv: []string{"vzctl"}, Exit: code}, nil)
		if (a.Err == "") != (code == 32) || code != 32 && a.Cause != fmt.Sprintf("exit %d: %s", code, words) {
			t.Errorf("%d: %+v", code, a)
		}
	}
	if a := readVZAnswer(four)(hostexec.Transcript{Exit: 199}, nil); !strings.Contains(a.Cause, "in no table") {
		t.Errorf("%+v", a)
	}
}

// openvz/vzctl-cannot-stop-or-restart.txt is the sample of the story that the project was born from: what each of its
// commands said is given the cause that a person needs.
func TestVZSessionOfTheStory(t *testing.T) {
	t.Parallel()
	var got []string
	var stderr []byte
	argv := ""
	exit := regexp.MustCompile(`^\[exit (\d+) after`)
	for line := range strings.Lines(string(fixture(t, "openvz/vzctl-cannot-stop-or-restart.txt"))) {
		line = strings.TrimSuffix(line, "\n")
		if c, ok := strings.CutPrefix(line, "$ "); ok {
			argv, stderr = c, nil
		}
		if e, ok := strings.CutPrefix(line, "stderr| "); ok {
			stderr = append(stderr, e+"\n"...)
		}
		if m := exit.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			a := readVZAnswer(vzCodes())(hostexec.Transcript{Argv: strings.Fields(argv), Exit: n, Stderr: stderr}, nil)
			got = append(got, fmt.Sprintf("%s: already %v: %s", argv, a.Already, a.Cause))
		}
	}
	want := `vzctl start 102: already false: 
vzctl stop 102 --fast: already false: Failed to wait for CT tasks to die (exit 33: it cannot be stopped)
vzctl status 102: already false: 
vzctl start 102: already true: 
vzctl restart 102: already false: Failed to wait for CT tasks to die (exit 33: it cannot be stopped)
vzctl umount 102: already true: `
	if s := strings.Join(got[:6], "\n"); s != want {
		t.Errorf("got\n%s", s)
	}
}

func TestVZLie(t *testing.T) {
	t.Parallel()
	h := newVZHost(Spec{}, nil, "")
	now := time.Now()
	for _, tt := range []struct {
		after time.Duration
		want  health.RunState
	}{{0, health.Unknown}, {maxLie - time.Second, health.Unknown}, {maxLie, health.Broken}} {
		if s, detail := h.lied("1", 77, now.Add(tt.after)); s != tt.want || !strings.Contains(detail, "77") {
			t.Errorf("after %v: %s, %s", tt.after, s, detail)
		}
	}
	h.truthful("1")
	if s, _ := h.lied("1", 77, now.Add(time.Hour)); s != health.Unknown {
		t.Errorf("anew: %s", s)
	}
}

// A predecessor's stop is not taken for a person's.
func TestVZOwnStopOutlivesTheAgent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before, after := newVZHost(Spec{Engine: "openvz", RunDir: dir}, nil, ""), newVZHost(Spec{Engine: "openvz", RunDir: dir}, nil, "")
	now := time.Now()
	before.begin("101", true)
	before.begin("102", false) // a start ends nothing
	if !after.ourStop("101", now) || after.ourStop("102", now) || after.ourStop("103", now) {
		t.Error("whose stop it was is not known")
	}
	if after.ourStop("101", now.Add(-time.Minute)) || after.ourStop("101", now.Add(time.Hour)) {
		t.Error("any stop is ours")
	}
	before.finish("101", now)
	before.begin("101", false) // and it was started again
	again := newVZHost(Spec{Engine: "openvz", RunDir: dir}, nil, "")
	if !again.ourStop("101", now) || again.ourStop("101", now.Add(time.Second)) {
		t.Error("what came after our start is ours still")
	}
	old := ownRun{from: now.Add(-time.Hour), to: now.Add(-time.Hour)}
	if err := os.WriteFile(after.ownPath("104"), old.text(), 0o600); err != nil {
		t.Fatal(err)
	}
	if !after.ourStop("104", old.to) || after.ourStop("104", now) || after.endedByUs("104", time.Time{}) {
		t.Error("a stop of an hour ago is ours for ever")
	}
	for _, bad := range []string{"", "x", "0 0 0", "1 2"} {
		if o, ok := parseOwnRun([]byte(bad)); ok {
			t.Errorf("%q: %+v", bad, o)
		}
	}
}

func TestSharedMount(t *testing.T) {
	t.Parallel()
	mounts := []byte("/dev/sda2 / ext4 rw 0 0\nnas:/x /vz/private nfs4 rw 0 0\n/dev/sdb1 /vz/private/local xfs rw 0 0\nbad\n")
	for path, want := range map[string]bool{"/vz/private/101": true, "/vz/private": true, "/vz/privately": false, "/vz/private/local/101": false, "/srv": false} {
		if sharedMount(mounts, path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

func TestPrlEvents(t *testing.T) {
	t.Parallel()
	const id = "3d32522a-80af-4773-b9fa-ea4915dee4b3"
	in := "{\n\t\"event_type\": \"VM_STATE_CHANGED\",\n\t\"vm_info\": {\n\t\t\"ID\": \"{" + strings.ToUpper(id) + "}\",\n\t\t\"Name\": \"19\" } rack\"\n\t}\n}\n" +
		`{"event_type":"VM_DELETED","vm_info":{"ID":"` + id + `"}}` + "\n" +
		"{\n\t\"event_type\": 100103\n}\n" + "garbage\n}\n" + "{\n\t\"event_type\": \"VM_AD\n{\n\t\"event_type\": \"VM_ADDED\",\n\t\"vm_info\": {\n\t}\n}\n"
	var e prlEvents
	var got []string
	for line := range bytes.Lines([]byte(in)) {
		if kind, id, whole := e.feed(bytes.TrimSuffix(line, []byte("\n"))); whole {
			got = append(got, kind+" "+id)
		}
	}
	want := "VM_STATE_CHANGED " + id + "|VM_DELETED " + id + "|100103 | |VM_ADDED "
	if s := strings.Join(got, "|"); s != want {
		t.Errorf("%q", s)
	}
	lost := 0
	for range 40 {
		if _, _, whole := e.feed(bytes.Repeat([]byte("x"), 60<<10)); whole {
			lost++
		}
	}
	if lost == 0 || len(e.buf) > 2*maxEvent {
		t.Errorf("an event without end: told %d times, %d bytes kept", lost, len(e.buf))
	}
}

// Both lists give the newest, whatever their order; of one that failed the innermost words count.
func TestVZBackups(t *testing.T) {
	t.Parallel()
	got := parseVZSnapshots([]byte("Directory /proc/vz not found, assuming non-OpenVZ kernel\n" +
		"{5c3f1f0d-8b57-4f5a-9a57-000000000002}   2026-11-25 14:19:18 before the upgrade\n{5c3f1f0d-8b57-4f5a-9a57-000000000001}   2026-11-24 14:19:18 \nPARENT_UUID\n"))
	if want := "snapshot {5c3f1f0d-8b57-4f5a-9a57-000000000002} before the upgrade"; got.Said != want || !got.OK || got.At.Format(time.DateTime) != "2026-11-25 14:19:18" {
		t.Errorf("%+v", got)
	}
	const id = "3d32522a-80af-4773-b9fa-ea4915dee4b3"
	row := func(id, backup, date string) string {
		return fmt.Sprintf("%38s %-38s %-20s %-20s %4s %10s\n", "{"+id+"}", backup, "node 1.example", date, "i", "17")
	}
	head := fmt.Sprintf("%38s %-38s %-20s %-20s %4s %10s\n", "ID", "Backup_ID", "Node", "Date", "Type", "Size")
	got, err := parsePrlBackups([]byte(head+row(id, "{a}.2", "11/25/2026 14:19:18")+row(id, "{a}", "11/24/2026 14:19:18")+row(strings.Repeat("0", 8)+id[8:], "{b}", "11/26/2026 14:19:18")), id)
	if err != nil || got.Said != "backup {a}.2 on node 1.example" || got.At.Format(time.DateTime) != "2026-11-25 14:19:18" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := parsePrlBackups([]byte(head), id); err != nil || got != (Backup{}) {
		t.Errorf("none: %+v, %v", got, err)
	}
	line := func(id, words string) string {
		return "2026-11-23T15:52:05+0000 vzctl : CT " + id + " : " + words + "\n"
	}
	for log, want := range map[string]string{
		line("7", "Creating snapshot {x}") + line("7", "Failed to create snapshot: no space [3]") + line("7", "Failed to create snapshot"):             "Failed to create snapshot: no space [3]",
		line("7", "Creating snapshot {x}") + line("7", "Snapshot {x} has been successfully created"):                                                   "",
		line("7", "Creating snapshot {x}") + line("8", "Failed to create snapshot"):                                                                    "",
		line("7", "Failed to wait for CT tasks to die"):                                                                                                "",
		line("7", "Creating snapshot {x}") + line("7", "Snapshot {x} has been successfully created") + line("7", "Failed to wait for CT tasks to die"): "",
	} {
		if got := parseVZSnapshotLog([]byte(log), "7"); got.Said != want || got.OK || got.At.IsZero() != (want == "") {
			t.Errorf("%s: %+v", log, got)
		}
	}
}
