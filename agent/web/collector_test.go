package web_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"atalaya/agent/health"
	"atalaya/agent/web"
)

func view() health.View {
	ref := func(id string) health.Ref { return health.Ref{Engine: "lxc", ID: id} }
	return health.View{
		Mode: health.ModeHeal, Closed: "the host is going down", Config: health.ConfigView{Waiting: []string{"engines"}},
		Instances: []health.InstanceView{
			{Engine: "lxc", Listed: time.Unix(1700000000, 500e6), Looked: time.Unix(1700000040, 0)},
			{Engine: "lxc", Instance: "mail", Err: "lxc-ls: not found", Degraded: "one by one"},
		},
		Containers: []health.ContainerView{
			{Ref: ref("web1"), Name: "web1", State: health.Running, Phase: health.Up, Intent: health.Intent{Want: health.Yes}, Signals: []health.SignalView{
				{Probe: "http", Outcome: health.Pass, Took: 2.5, Expires: time.Unix(1800000000, 0)}, {Probe: "icmp", Outcome: health.Unsure}, {Probe: "new"}}},
			{Ref: ref("db"), Name: "db", State: health.Stopped, Phase: health.Exhausted, Incident: "x", Attempts: 5, Hold: &health.Hold{},
				Signals: []health.SignalView{{Probe: "tcp", Outcome: health.Fail, Took: 3000, Failing: true}}},
		},
	}
}

func registered(t *testing.T, v func(context.Context) (health.View, error)) *prometheus.Registry {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(web.NewCollector("1.2.3", v)); err != nil {
		t.Fatal(err)
	}
	return r
}

func fixed(v health.View) func(context.Context) (health.View, error) {
	return func(context.Context) (health.View, error) { return v, nil }
}

// metrics gives every sample as a line.
func metrics(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				if !utf8.ValidString(l.GetValue()) {
					t.Errorf("%s has a label that is not UTF-8: %q", name, l.GetValue())
				}
				if l.GetValue() != "" {
					name += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
				}
			}
			out[name] = m.GetGauge().GetValue()
		}
	}
	return out
}

func TestCollectorShowsTheView(t *testing.T) {
	t.Parallel()
	r := registered(t, fixed(view()))
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	got := metrics(t, r)
	for sample, want := range map[string]float64{
		"atalaya_build_info version=1.2.3": 1,
		"atalaya_view_up":                  1,
		"atalaya_mode mode=heal":           1,
		"atalaya_config_stale":             1,
		"atalaya_probe_certificate_expiry_timestamp_seconds container=web1 engine=lxc probe=http": 1800000000,
		"atalaya_host_closed":                                                 1,
		"atalaya_instance_up engine=lxc":                                      1,
		"atalaya_instance_up engine=lxc instance=mail":                        0,
		"atalaya_instance_degraded engine=lxc instance=mail":                  1,
		"atalaya_instance_last_list_timestamp_seconds engine=lxc":             1700000000.5,
		"atalaya_instance_last_look_timestamp_seconds engine=lxc":             1700000040,
		"atalaya_containers phase=up":                                         1,
		"atalaya_containers phase=exhausted":                                  1,
		"atalaya_containers phase=gone":                                       0,
		"atalaya_container_up container=web1 engine=lxc":                      1,
		"atalaya_container_up container=db engine=lxc":                        0,
		"atalaya_container_state container=db engine=lxc state=stopped":       1,
		"atalaya_container_phase container=db engine=lxc phase=exhausted":     1,
		"atalaya_container_incident_open container=db engine=lxc":             1,
		"atalaya_container_wanted container=web1 engine=lxc":                  1,
		"atalaya_container_held container=db engine=lxc":                      1,
		"atalaya_container_attempts container=db engine=lxc":                  5,
		"atalaya_probe_up container=web1 engine=lxc probe=http":               1,
		"atalaya_probe_duration_seconds container=web1 engine=lxc probe=http": 0.0025,
		"atalaya_probe_up container=db engine=lxc probe=tcp":                  0,
		"atalaya_probe_failing container=db engine=lxc probe=tcp":             1,
	} {
		if v, ok := got[sample]; !ok || v != want {
			t.Errorf("%s = %v (there: %t), want %v", sample, v, ok, want)
		}
	}
	for sample := range got {
		absent := strings.HasPrefix(sample, "atalaya_probe_up") && (strings.Contains(sample, "icmp") || strings.Contains(sample, "new")) ||
			strings.HasPrefix(sample, "atalaya_instance_last") && strings.Contains(sample, "mail")
		if absent {
			t.Errorf("%s is there", sample)
		}
	}
}

// What is gone leaves no series behind.
func TestCollectorForgets(t *testing.T) {
	t.Parallel()
	v := view()
	r := registered(t, func(context.Context) (health.View, error) { return v, nil })
	before := metrics(t, r)
	v.Containers = v.Containers[:1]
	after := metrics(t, r)
	const gone = "atalaya_container_up container=db engine=lxc"
	if _, was := before[gone]; !was {
		t.Fatalf("%s was never there", gone)
	}
	if _, is := after[gone]; is {
		t.Errorf("%s is still there", gone)
	}
}

func TestCollectorWithoutAView(t *testing.T) {
	t.Parallel()
	r := registered(t, func(ctx context.Context) (health.View, error) {
		<-ctx.Done()
		return health.View{}, errors.New("no answer")
	})
	began := time.Now()
	got := metrics(t, r)
	if up, ok := got["atalaya_view_up"]; !ok || up != 0 {
		t.Errorf("atalaya_view_up is %v, %t", up, ok)
	}
	if len(got) != 2 { // atalaya_build_info is the other
		t.Errorf("there is %v", got)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("a scrape took %s", took)
	}
}

// Names are the tenants' word. Whatever they are, the scrape is whole.
func TestCollectorHostileNames(t *testing.T) {
	t.Parallel()
	v := view()
	v.Containers = nil
	for i, name := range []string{"a\"b", "line\nbreak", "\xff\xfe", "\xff\xfd", "same", "same", "id-of-6", "\x1b[31mred", strings.Repeat("x", 300), ""} {
		v.Containers = append(v.Containers, health.ContainerView{Ref: health.Ref{Engine: "custom", ID: fmt.Sprintf("id-of-%d", i)}, Name: name, State: health.Running})
	}
	got := metrics(t, registered(t, fixed(v)))
	up := 0
	for sample := range got {
		if strings.HasPrefix(sample, "atalaya_container_up") {
			up++
		}
	}
	if up != len(v.Containers) {
		t.Errorf("%d of %d containers have a series: %v", up, len(v.Containers), got)
	}
	if status, body := get(t, "http://"+serve(t, func() web.Options {
		o := options()
		o.Gatherer = registered(t, fixed(v))
		return o
	}())+"/metrics"); status != 200 || !strings.Contains(body, `container="line\nbreak"`) || !strings.Contains(body, `container="\\xff\\xfe"`) {
		t.Errorf("%d\n%s", status, body)
	}
}
