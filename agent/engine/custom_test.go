package engine

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"atalaya/agent/health"
)

func TestCustomJSON(t *testing.T) {
	rows, err := parseCustomJSON(fixture(t, "custom/nested.json"), CustomJSON{
		Items: "data", ID: "vmid", Name: "name", State: "status.state", PID: "status.pid", Addresses: "ips", Autostart: "onboot", Mark: "uuid",
	})
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	if r := rows[0]; r.id != "101" || r.name != "web1" || r.state != "on" || r.pid != "4242" || len(r.addrs) != 3 || r.autostart != "true" || r.mark != "a-b" {
		t.Errorf("%+v", r)
	}
	if r := rows[1]; r.id != "102" || r.state != "off" || r.pid != "" || r.addrs != nil || r.autostart != "0" {
		t.Errorf("%+v", r)
	}
	rows, err = parseCustomJSON(fixture(t, "custom/nested.json"), CustomJSON{Items: "data", ID: "vmid", State: "status.state", Addresses: "net.0.ip"})
	if err != nil || !slices.Equal(rows[0].addrs, []string{"10.0.0.1/24"}) {
		t.Errorf("an index in a path: %+v, %v", rows, err)
	}
	// one object a line, as docker prints
	rows, err = parseCustomJSON(fixture(t, "custom/docker-ps.json"), CustomJSON{ID: "ID", Name: "Names", State: "State"})
	if err != nil || len(rows) != 2 || rows[1].state != "exited" {
		t.Errorf("%+v, %v", rows, err)
	}
	// a real tool's output, read without a parser of its own
	rows, err = parseCustomJSON(fixture(t, "custom/vzlist.json"), CustomJSON{ID: "ctid", Name: "name", State: "status", Addresses: "ip", Autostart: "onboot"})
	if err != nil || len(rows) == 0 || rows[0].id != "101" || rows[0].state != "running" || len(rows[0].addrs) != 2 {
		t.Errorf("%+v, %v", rows, err)
	}
	for in, want := range map[string]string{
		"":                           "nothing was printed: an empty list in JSON is []",
		"json\n":                     "not JSON: invalid character 'j' looking for beginning of value",
		`{"data": 3}`:                `neither an array nor an object: "3"`,
		`{"other": []}`:              `custom.json.items: nothing at "data"`,
		`{"data": {}}`:               `custom.json.items: "data" is no array`,
		`{"data": [{"vmid": 1}]`:     "not JSON: unexpected EOF",
		`{"data": []} trailing junk`: "not JSON: invalid character 'a' in literal true (expecting 'u')",
	} {
		if _, err := parseCustomJSON([]byte(in), CustomJSON{Items: "data", ID: "vmid", State: "s"}); err == nil || err.Error() != want {
			t.Errorf("%q: %v\nwant %s", in, err, want)
		}
	}
}

func FuzzCustomJSON(f *testing.F) {
	for _, n := range []string{"nested.json", "docker-ps.json", "vzlist.json"} {
		f.Add(fixture(f, "custom/"+n), "data")
	}
	f.Add([]byte(`[[{"id":1}]]`), "0.x.")
	f.Fuzz(func(_ *testing.T, b []byte, path string) {
		_, _ = parseCustomJSON(b, CustomJSON{Items: path, ID: "id", State: path, Addresses: path})
		_, _ = parseCustomJSON(b, CustomJSON{ID: "vmid", State: "status.state"})
	})
}

func FuzzCustomLines(f *testing.F) {
	re := regexp.MustCompile(`^(?P<id>\S+) +(?P<state>\S+)(?: +(?P<pid>\S+))?(?: +(?P<addr>\S+))?$`)
	f.Add([]byte("web1 up 12 10.0.0.1/24\nweb2 down -\n\xff\x00 x\n"))
	c := &custom{spec: Spec{Engine: "custom", Custom: &CustomSpec{States: map[string]health.RunState{"up": health.Running}}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := parseCustomLines(b, re)
		if err != nil {
			return
		}
		for _, s := range c.sightings(rows) {
			if checkID(s.Ref.ID) != nil || checkID(s.Name) != nil || strings.ContainsAny(s.Detail, "\x00\x1b\n") {
				t.Errorf("%+v", s)
			}
		}
	})
}
