package engine

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func FuzzVZList(f *testing.F) {
	f.Add(fixture(f, "openvz/vzlist-unescaped-quote.INVALID.json"))
	f.Add([]byte(`[{"ctid": 101, "name": null, "status": "running", "ip": ["10.0.0.101"], "onboot": null, "disabled": false}]`))
	f.Add([]byte("       101 running   10.0.0.101 10.0.1.101\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, _ := parseVZList(b)
		table, _ := parseVZTable(b)
		for _, r := range append(rows, table...) {
			if r.ID == nil {
				t.Error("a row without id")
			}
			_, detail, _ := vzState(string(r.Status))
			if strings.ContainsAny(detail, "\x00\n\x1b") || len(detail) > maxWords+100 {
				t.Errorf("%q", detail)
			}
			_ = vzAddrs(r.IP)
		}
	})
}

func FuzzVZFiles(f *testing.F) {
	f.Add(fixture(f, "openvz/vzctl.log")[:1200]) // a long seed takes the fuzzer minutes to make shorter
	f.Add([]byte("9439\nBacking up\n"))
	f.Add([]byte("NETIF=\"ifname=eth0,bridge=vzbr0;ifname=eth1,bridge=br1\"\nVE_PRIVATE=/vz/private/$VEID\n"))
	f.Add([]byte("Version: 2.5\n      101:  kmemsize  1  2  3  4  5\n"))
	f.Add([]byte("Failed to start the CT: PRL_ERR_VZCTL_OPERATION_FAILED\nUnable to add ip 192.168.0.161: Address already in use\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range parseVZLog(b) {
			if strings.ContainsAny(s.how+s.fserror, "\x00\n\x1b") {
				t.Errorf("%+v", s)
			}
		}
		if pid, action, ok := parseVZLock(b); ok && pid <= 0 || strings.ContainsAny(action, "\x00\n\x1b") {
			t.Errorf("%d %q", pid, action)
		}
		for id := range parseBeancounters(b) {
			if !regexp.MustCompile(`^\d+$`).MatchString(id) {
				t.Errorf("%q", id)
			}
		}
		_ = vzLinks(parseVZConf(b))
		for _, c := range []string{vzCause(b), prlCause(b)} {
			if strings.ContainsAny(c, "\x00\n\x1b") || len(c) > maxWords+10 {
				t.Errorf("%q", c)
			}
		}
		_ = sharedMount(b, "/vz")
	})
}

func FuzzPrl(f *testing.F) {
	f.Add([]byte("[\n\t{\n\t\t\"uuid\": \"3d32522a-80af-4773-b9fa-ea4915dee4b3\",\n\t\t\"status\": \"running\",\n\t\t\"ip_configured\": \"10.0.0.1 \",\n\t\t\"type\": \"CT\",\n\t\t\"name\": \"19\" rack\"\n\t}\n]\n"))
	f.Add([]byte("{\n\t\"event_type\": \"VM_DELETED\",\n\t\"vm_info\": {\n\t\t\"ID\": \"3d32522a-80af-4773-b9fa-ea4915dee4b3\"\n\t}\n}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, _ := parsePrlList(b)
		for _, r := range rows {
			if r.id() == "" {
				t.Error("a row without id")
			}
			_, _, _ = prlState(string(r.Status))
		}
		_, _ = parsePrlInfo(b)
		var e prlEvents
		for line := range bytes.Lines(b) {
			if _, id, _ := e.feed(bytes.TrimSuffix(line, []byte("\n"))); id != "" && len(id) != 36 {
				t.Errorf("%q", id)
			}
		}
	})
}

func FuzzVZMeaning(f *testing.F) {
	f.Add("vzctl stop 101 --fast")
	f.Add("prlctl stop web1 --kill")
	f.Fuzz(func(t *testing.T, line string) {
		argv := strings.Split(line, " ")
		if id, verb, ok := vzMeaning(argv, func(s string) string { return s }); ok && (id == "" || verb == "") {
			t.Errorf("%q: %q %q", argv, id, verb)
		}
	})
}

func FuzzVZBackups(f *testing.F) {
	f.Add([]byte("{5c3f1f0d-8b57-4f5a-9a57-000000000001} 2026-11-25 14:19:18 atalaya\n"))
	f.Add([]byte("2026-11-23T15:52:05+0000 vzctl : CT 7 : Creating snapshot {x}\n2026-11-23T15:52:06+0000 vzctl : CT 7 : Failed to create snapshot: no [3]\n"))
	f.Add([]byte("ID Backup_ID Node Date Type Size\n{3d32522a-80af-4773-b9fa-ea4915dee4b3} {b}.2 a node 11/25/2026 14:19:18 i 10\n"))
	f.Add([]byte("1 2 3\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		backup, err := parsePrlBackups(b, "3d32522a-80af-4773-b9fa-ea4915dee4b3")
		if err != nil && backup != (Backup{}) {
			t.Errorf("%+v, %v", backup, err)
		}
		for _, l := range []Backup{parseVZSnapshots(b), parseVZSnapshotLog(b, "7"), backup} {
			if strings.ContainsAny(l.Said, "\x00\n\x1b") || l.OK && l.Said == "" {
				t.Errorf("%+v", l)
			}
		}
		_, _ = parseOwnRun(b)
	})
}
