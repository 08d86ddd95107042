package agent_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"atalaya/agent"
	"atalaya/agent/health"
	"atalaya/agent/store"
)

// aWeek is a journal of so many containers, each of which falls sick every six hours: what was done about that is not in it,
// which is the dearest case.
func aWeek(n int) (runs []store.Run, began time.Time) {
	began = time.Date(2026, 7, 6, 0, 0, 0, 0, time.UTC)
	const week, every, fit = 7 * 24 * time.Hour, 10 * time.Second, 6 * time.Hour
	add := func(ref health.Ref, sensor, outcome string, at time.Time, count int, data string, marked int, period time.Duration) {
		marks := ""
		for i := range marked {
			marks += fmt.Sprintf(`,{"n":%d,"at":%q,"o":%d,"p":"up"}`, i, at.Add(time.Duration(i)*period).Format(time.RFC3339Nano), len(runs)+1)
		}
		runs = append(runs, store.Run{Ref: ref, Sensor: sensor, Outcome: outcome, First: at, Last: at.Add(time.Duration(count-1) * period), Count: count,
			Period: period, Data: json.RawMessage("{" + data + `"marks":[` + marks[1:] + "]}")})
	}
	add(health.Ref{}, store.Beginning, "begins", began, 1, "", 1, 0)
	for i := range n {
		ref := health.Ref{Engine: "lxc", ID: fmt.Sprintf("web%d", i)}
		born := began.Add(time.Duration(i) * time.Millisecond)
		add(ref, "birth", "born", born, 1, `"birth":{"boot":"b","orderly":true},`, 1, 0)
		add(ref, "engine", "running", born.Add(time.Microsecond), int(week/every), fmt.Sprintf(
			`"sight":{"ref":{"engine":"lxc","id":%q},"name":%[1]q,"state":"running","autostart":"yes","init":{"pid":%d,"start":1},"at":%q},`,
			ref.ID, 1000+i, born.Format(time.RFC3339Nano)), 1, every)
		for at := born.Add(2*time.Microsecond + time.Duration(i)*time.Minute); at.Sub(born) < week-fit; at = at.Add(fit) {
			well := int(fit/every) - 3
			add(ref, "probe:web", "pass", at, well, "", 2, every)
			add(ref, "probe:web", "fail", at.Add(time.Duration(well)*every), 3, "", 3, every)
		}
	}
	return runs, began
}

// BenchmarkReplay takes a week of 50 containers through the decisions, and prints how many times as fast as it passed.
func BenchmarkReplay(b *testing.B) {
	runs, began := aWeek(50)
	set := agent.Settings{Mode: health.ModeHeal, Poll: 10 * time.Second, Survey: health.DefaultSurvey(), Setup: func(health.Sighting) agent.Setup {
		p := health.DefaultPolicy()
		p.Probes = map[string]health.ProbePolicy{"web": health.DefaultProbePolicy()}
		return agent.Setup{Policy: p}
	}}
	b.ResetTimer()
	var out agent.Replayed
	for range b.N {
		var err error
		if out, err = agent.Replay(b.Context(), agent.ReplayOptions{Journal: runs, Settings: set, Since: began}); err != nil {
			b.Fatal(err)
		}
	}
	if out.Now.Incidents < 500 || out.Watched != 50 {
		b.Errorf("%d incidents of %d containers", out.Now.Incidents, out.Watched)
	}
	each := b.Elapsed() / time.Duration(b.N)
	b.ReportMetric(float64(7*24*time.Hour)/float64(each), "times-as-fast")
	b.ReportMetric(float64(out.Now.Incidents), "incidents")
	b.ReportMetric(float64(len(runs)), "rows")
}
