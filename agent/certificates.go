package agent

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"atalaya/agent/health"
	"atalaya/probes"
)

// certKey begins the keys under which is kept which certificates of a container were told of: their ends, in Unix seconds.
const certKey = "cert/"

// maxCerts bounds how many of a container are kept; the oldest go first.
const maxCerts = 16

// certificate tells once of each certificate of a container that will soon be good no more, whichever of its probes met
// it, and however often, also over restarts of the agent. A renewed one has another end.
func (t *turn) certificate(g *guest, probe string, res probes.Result) {
	if !res.ExpiresSoon {
		return
	}
	key, end := certKey+g.ref.String(), strconv.FormatInt(res.CertExpires.Unix(), 10)
	told := strings.Fields(t.certs[key])
	if slices.Contains(told, end) {
		return
	}
	told = append(told, end)
	t.keepCerts(key, strings.Join(told[max(0, len(told)-maxCerts):], " "))
	t.noticeOf(g, "warning", fmt.Sprintf("probe %q: %s", probe, res.Warning))
}

func (t *turn) keepCerts(key, told string) {
	if t.certs[key] == told {
		return
	}
	if t.certs == nil {
		t.certs = map[string]string{}
	}
	t.certs[key] = told
	if told == "" {
		delete(t.certs, key)
	}
	t.batch.Meta = meta(t.batch.Meta, key, told)
}

// noticeOf tells something about a container that is no incident, to its channels.
func (t *turn) noticeOf(g *guest, severity, text string) {
	now, sub := t.clock.wall(t.at), g.subject()
	al := health.Alert{Schema: health.AlertSchema, Kind: health.AlertNotice, Severity: severity, Host: t.o.Host, Container: &sub,
		Summary: fmt.Sprintf("%s on %s: %s", sub.Name, t.o.Host.FQDN, text), Reason: text, Since: now, At: now}
	t.log.Log(context.Background(), level(severity), "notice", "container", g.ref.String(), "what", text)
	if g.setup.Policy.Mode != health.ModeObserve {
		t.queue(g.setup.Channels, al, health.Action{Kind: health.DoTell})
	}
}
