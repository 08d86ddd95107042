package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func replaceClock(text string, t time.Time) string {
	return strings.ReplaceAll(text, "CLOCK", clock(t))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFullName(t *testing.T) {
	hosts := "127.0.0.1 localhost\n# 10.0.0.1 web.commented.example\n::1 localhost ip6-localhost\n" +
		"10.0.0.2 webmail.example.org\nnonsense web.nonsense\n127.0.1.1\tweb.example.org web # this one\n10.0.0.3 web.later.example\n"
	for name, want := range map[string]string{
		"web": "web.example.org", "WEB": "web.example.org", "web.": "web.example.org", "db": "db",
		"a.b.c": "a.b.c", "localhost": "localhost",
	} {
		if got := fullName(name, hosts); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestIdentity(t *testing.T) {
	h := Identity("Vienna 3")
	name, err := os.Hostname()
	must(t, err)
	if !strings.HasPrefix(strings.ToLower(h.FQDN), strings.ToLower(name)) || h.Site != "Vienna 3" || len(h.Boot) < 36 {
		t.Fatalf("got %+v", h)
	}
	if again := BootID(); again != h.Boot {
		t.Errorf("boot %q, then %q", h.Boot, again)
	}
}

func TestSchedule(t *testing.T) {
	s := parseSchedule("USEC=1795510800000000\nWARN_WALL=1\nMODE=reboot\nUID=0\n")
	if !s.at.Equal(time.Unix(1795510800, 0)) || s.mode != "reboot" || !s.real() {
		t.Errorf("got %+v", s)
	}
	for _, bad := range []string{"", "USEC=x\nMODE=reboot", "MODE=reboot", "USEC=-1", "\x00\xff"} {
		if s := parseSchedule(bad); s.real() {
			t.Errorf("%q: got %+v", bad, s)
		}
	}
}

func TestSystemctlOutput(t *testing.T) {
	units := map[string]unit{}
	parseShow("Id=lxc.service\nActiveState=deactivating\nInactiveExitTimestamp=@1763950000\nActiveExitTimestamp=@1763950100\n\n"+
		"ActiveState=inactive\nInactiveExitTimestamp=\nId=docker.service\nActiveExitTimestamp=n/a\n", units)
	parseJobs("12 lxc.service restart running\n13 other.service start waiting\nNo jobs running.\n", units)
	want := map[string]unit{
		"lxc.service":    {active: "deactivating", job: "restart", started: time.Unix(1763950000, 0), stopped: time.Unix(1763950100, 0)},
		"docker.service": {active: "inactive"},
	}
	if fmt.Sprint(units) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", units, want)
	}
}

func TestSignalsThatTouch(t *testing.T) {
	names := map[string]bool{"lxc-net@1.service": true}
	job := func(member, unit string) *dbus.Signal {
		return &dbus.Signal{Name: manager + member, Path: busPath, Body: []any{uint32(7), dbus.ObjectPath("/"), unit, "done"}}
	}
	path := busPath + "/unit/lxc_2dnet_401_2eservice"
	cases := []struct {
		s    *dbus.Signal
		want bool
	}{
		{job(".JobNew", "lxc-net@1.service"), true},
		{job(".JobRemoved", "shutdown.target"), true},
		{job(".JobNew", "cron.service"), false},
		{&dbus.Signal{Name: manager + ".JobNew", Body: []any{1}}, false},
		{&dbus.Signal{Name: properties + ".PropertiesChanged", Path: path}, true},
		{&dbus.Signal{Name: properties + ".PropertiesChanged", Path: busPath + "/unit/cron_2eservice"}, false},
		{&dbus.Signal{Name: properties + ".PropertiesChanged", Path: busPath + "/unit/x_"}, false},
		{&dbus.Signal{Name: properties + ".PropertiesChanged", Path: "/elsewhere"}, false},
		{&dbus.Signal{Name: manager + ".UnitNew", Path: path}, false},
	}
	for _, c := range cases {
		if got := touches(c.s, names); got != c.want {
			t.Errorf("%s %s %v: got %v", c.s.Name, c.s.Path, c.s.Body, got)
		}
	}
}

func TestVitals(t *testing.T) {
	text, err := Vitals(t.Context())
	if err != nil {
		t.Logf("not everything can be read here: %v", err)
	}
	for _, want := range []string{"== load\nload average ", "memory: ", " available", "swap: ", "== file systems\n", "inodes ", " processes:", "memory  ", "cpu  "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if len(text) > maxVitals || strings.ContainsAny(string(text), "\x00\x1b") {
		t.Errorf("%d bytes, or control characters", len(text))
	}
}

func TestVitalsNameWhatTheyCouldNotRead(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	text, err := Vitals(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "read the host's file systems: ") {
		t.Errorf("error %v", err)
	}
	if n := strings.Count(string(text), "not read: context canceled\n"); n != 6 {
		t.Errorf("%d parts are named in\n%s", n, text)
	}
}

func TestTasksWithHostileNames(t *testing.T) {
	line := "42 (\x1b[2J) R 9 (x) D 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 7 0 815 1000 3 18446744073709551615 1"
	got, ok := parseTask([]byte(line))
	want := task{pid: 42, name: "?[2J) R 9 (x", state: 'D', cpu: 2 * time.Second, rss: 3 * uint64(os.Getpagesize())}
	if !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	for _, bad := range []string{"", "(", ")(", "42 (x) S", "x (y)" + strings.Repeat(" 1", 30)} {
		if _, ok := parseTask([]byte(bad)); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMetricsAreClean(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	m.changes.WithLabelValues("systemd")
	m.asked.WithLabelValues(fromBus)
	m.failed.WithLabelValues(fromLinks)
	families, err := reg.Gather()
	must(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	must(t, err)
	if len(problems) > 0 || len(families) != 3 {
		t.Fatalf("%d families, problems %v", len(families), problems)
	}
}

func BenchmarkVitals(b *testing.B) {
	var text []byte
	for b.Loop() {
		text, _ = Vitals(b.Context())
	}
	b.ReportMetric(float64(len(text)), "bytes")
	b.ReportMetric(float64(bytes.Count(text, []byte{'\n'})), "lines")
}

func itoa(n int) string { return strconv.Itoa(n) }
