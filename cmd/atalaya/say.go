package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"atalaya/agent/health"
)

// called is how a container is called in front of people: lxc/web1, with the instance where that is not the default.
func called(ref health.Ref, name string) string {
	if name != "" {
		ref.ID = name
	}
	return clean(ref.String())
}

func instanceName(i health.InstanceView) string {
	if i.Instance == "" {
		return i.Engine
	}
	return i.Engine + ":" + i.Instance
}

// moment is a time as the host's clock shows it, with its distance from UTC.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 -07:00")
}

// span is a duration for people: two units at most, none finer than they care for.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 24*time.Hour:
		return strings.TrimSuffix(fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60), " 0 min")
	}
	return strings.TrimSuffix(fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24), " 0 h")
}

func since(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(now.Sub(t))
}

// millis is the time that a probe took.
func millis(m health.Millis) string {
	if m < 10 {
		return strconv.FormatFloat(float64(m), 'f', 1, 64) + " ms"
	}
	return span(time.Duration(float64(m) * float64(time.Millisecond)))
}

// plural counts things.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// A period is a flag that takes what people write: 90m, 36h, 7d.
type period time.Duration

// String gives it as it may be written.
func (p *period) String() string {
	if *p == 0 {
		return ""
	}
	return time.Duration(*p).String()
}

// Type names it in the help.
func (p *period) Type() string { return "duration" }

// Set reads it.
func (p *period) Set(s string) error {
	d, err := time.ParseDuration(s)
	if n, ok := strings.CutSuffix(s, "d"); err != nil && ok {
		var days float64
		if days, err = strconv.ParseFloat(n, 64); days > 0 && days < 1e5 {
			d = time.Duration(days * 24 * float64(time.Hour))
		}
	}
	if err != nil || d <= 0 {
		return fmt.Errorf("write it with its unit: 30m, 12h, 7d")
	}
	*p = period(d)
	return nil
}

// wanted says in one word whether a container should be running.
func wanted(i health.Intent) string {
	switch i.Want {
	case health.Yes, health.No:
		return string(i.Want)
	}
	return "?"
}

// phaseStyle is green for what is well, yellow for what is moving or kept off, red for what needs a person.
func phaseStyle(p health.Phase) style {
	switch p {
	case health.Up:
		return green
	case health.Exhausted, health.Alerted:
		return red
	case health.New, health.Off, health.Gone:
		return dim
	}
	return yellow
}

// signals is the latest word of each probe.
func signals(all []health.SignalView) string {
	var out []string
	for _, s := range all {
		word := string(s.Outcome)
		if word == "" {
			word = "not run yet"
		}
		if s.Outcome == health.Pass && s.Took > 0 {
			word += " " + millis(s.Took)
		}
		if s.Failing {
			word = "FAILING"
		} else if s.Fails > 0 {
			word += fmt.Sprintf(" (%d in a row)", s.Fails)
		}
		out = append(out, clean(s.Probe)+" "+word)
	}
	return strings.Join(out, ", ")
}
