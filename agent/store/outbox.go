package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"atalaya/agent/health"
)

// A Delivery is one row of the outbox: one alert on its way to one channel.
type Delivery struct {
	ID      int64
	Channel string
	Key     string
	Alert   health.Alert
	Tries   int       // to deliver it, the one that succeeded included; from 0 again when a person has it sent again
	Queued  time.Time // when it was committed
	Since   time.Time // from when giving up counts: Queued, or when a person had it sent again
	Due     time.Time // not sent before
	LastErr string    // of the latest try
	Dead    bool      // a dead letter: given up or refused; see Requeue
	Sent    time.Time // zero: not delivered
	Receipt string    // the receiver's word
}

const deliveryColumns = `id, channel, key, doc, tries, queued, since, due, last_err, dead, sent, receipt`

func delivery(rs *sql.Rows) (d Delivery, err error) {
	var doc []byte
	var queued, since, due, dead, sent int64
	if err := rs.Scan(&d.ID, &d.Channel, &d.Key, &doc, &d.Tries, &queued, &since, &due, &d.LastErr, &dead, &sent, &d.Receipt); err != nil {
		return d, err
	}
	d.Queued, d.Since, d.Due, d.Sent, d.Dead = moment(queued), moment(since), moment(due), moment(sent), dead != 0
	if err := json.Unmarshal(doc, &d.Alert); err != nil {
		return d, fmt.Errorf("decode alert %q: %w", d.Key, err)
	}
	return d, nil
}

const (
	pending = `sent = 0 AND dead = 0`
	// A row is the head of its line when nothing pending of the same channel and incident was queued before it.
	isHead = pending + ` AND NOT EXISTS (SELECT 1 FROM outbox p WHERE p.channel = o.channel AND p.line = o.line
		AND p.id < o.id AND p.sent = 0 AND p.dead = 0)`
)

// Due gives what may be sent at now: of each line (the alerts of one incident to one channel) only the head, so that order
// holds; of each channel at most limit, so that a dead one cannot crowd out the others; oldest first.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]Delivery, error) {
	return read(ctx, s, "read the outbox", func(ctx context.Context, db *sql.DB) ([]Delivery, error) {
		return rows(ctx, db, delivery, `SELECT `+deliveryColumns+` FROM (SELECT *, row_number() OVER (PARTITION BY channel
			ORDER BY due, id) AS place FROM outbox o WHERE due <= ? AND `+isHead+`) WHERE place <= ? ORDER BY due, id`, nanos(now), limit)
	})
}

// NextDue gives when the next head that is not due at now will be; zero: there is none.
func (s *Store) NextDue(ctx context.Context, now time.Time) (time.Time, error) {
	return read(ctx, s, "read the outbox", func(ctx context.Context, db *sql.DB) (time.Time, error) {
		var due int64
		err := db.QueryRowContext(ctx, `SELECT coalesce(min(due), 0) FROM outbox o WHERE due > ? AND `+isHead, nanos(now)).Scan(&due)
		return moment(due), err
	})
}

// Outbox gives every row that was not delivered, oldest first; all gives the delivered ones too.
func (s *Store) Outbox(ctx context.Context, all bool) ([]Delivery, error) {
	return read(ctx, s, "read the outbox", func(ctx context.Context, db *sql.DB) ([]Delivery, error) {
		return rows(ctx, db, delivery, `SELECT `+deliveryColumns+` FROM outbox WHERE ? OR sent = 0 ORDER BY id`, all)
	})
}

// A Backlog counts what one channel has not delivered.
type Backlog struct {
	Channel       string
	Pending, Dead int
	Oldest        time.Time // the oldest pending row was queued then; zero: none
	Failing       time.Time // the pending row that has failed for longest waits since then; zero: none has failed
	LastErr       string    // why that one failed
}

// View is what people and programs are shown of it.
func (b Backlog) View() health.ChannelView {
	return health.ChannelView{Name: b.Channel, Pending: b.Pending, Dead: b.Dead, Failing: b.Failing, Err: b.LastErr}
}

// Backlogs gives the backlog of each channel that has one.
func (s *Store) Backlogs(ctx context.Context) ([]Backlog, error) {
	return read(ctx, s, "count the outbox", func(ctx context.Context, db *sql.DB) ([]Backlog, error) {
		return rows(ctx, db, func(rs *sql.Rows) (b Backlog, err error) {
			var oldest, failing int64
			err = rs.Scan(&b.Channel, &b.Pending, &b.Dead, &oldest, &failing, &b.LastErr)
			b.Oldest, b.Failing = moment(oldest), moment(failing)
			return b, err
		}, `SELECT channel, sum(n), sum(d), coalesce(min(oldest), 0), coalesce(min(failing), 0), coalesce(max(cause), '') FROM (
				SELECT channel, count(*) AS n, 0 AS d, min(queued) AS oldest, NULL AS failing, NULL AS cause
					FROM outbox WHERE `+pending+` GROUP BY channel
				UNION ALL SELECT channel, 0, count(*), NULL, NULL, NULL FROM outbox WHERE dead > 0 GROUP BY channel
				UNION ALL SELECT channel, 0, 0, NULL, min(since), last_err FROM outbox WHERE `+pending+` AND tries > 0 GROUP BY channel)
			GROUP BY channel ORDER BY channel`)
	})
}

// Sent records that the receiver took it, with the receiver's word. Recorded twice it is still one try.
func (s *Store) Sent(ctx context.Context, id int64, at time.Time, receipt string) error {
	return s.change(ctx, "record a delivery", id, `UPDATE outbox SET tries = tries + (sent = 0), sent = ?, dead = 0, receipt = ?,
		last_err = '' WHERE id = ?`, nanos(at), text(receipt), id)
}

// Retry records a failed try: the next is not before due.
func (s *Store) Retry(ctx context.Context, id int64, due time.Time, cause string) error {
	return s.change(ctx, "record a failed delivery", id,
		`UPDATE outbox SET tries = tries + 1, due = ?, last_err = ? WHERE id = ? AND sent = 0`, nanos(due), text(cause), id)
}

// Dead makes it a dead letter, which no longer holds up its line.
func (s *Store) Dead(ctx context.Context, id int64, at time.Time, cause string) error {
	return s.change(ctx, "record a dead letter", id,
		`UPDATE outbox SET tries = tries + 1, dead = ?, last_err = ? WHERE id = ? AND sent = 0`, nanos(at), text(cause), id)
}

// Requeue has a row that was not delivered sent again, due at once and with its time to give up counted from at, by the clock
// that Due is asked with.
func (s *Store) Requeue(ctx context.Context, id int64, at time.Time) error {
	return s.change(ctx, "send again", id,
		`UPDATE outbox SET dead = 0, tries = 0, due = ?, since = ? WHERE id = ? AND sent = 0`, nanos(at), nanos(at), id)
}

// Drop deletes a row that was not delivered.
func (s *Store) Drop(ctx context.Context, id int64) error {
	return s.change(ctx, "drop an alert", id, `DELETE FROM outbox WHERE id = ? AND sent = 0`, id)
}

// change runs one statement that must find its row.
func (s *Store) change(ctx context.Context, what string, id int64, q string, args ...any) error {
	return s.write(ctx, what, func(tx *sql.Tx) error {
		res, err := tx.Exec(q, args...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			return fmt.Errorf("%w: undelivered alert %d", ErrNotFound, id)
		}
		return nil
	})
}

// Advance makes the rows of an incident up to the alert numbered upTo that were never tried due at now: what they waited
// for is there.
func (s *Store) Advance(ctx context.Context, incident string, upTo int, now time.Time) error {
	return s.write(ctx, "advance the alerts of an incident", func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE outbox SET due = ?1 WHERE incident = ?2 AND due > ?1 AND tries = 0
			AND json_extract(doc, '$.seq') <= ?3 AND `+pending, nanos(now), incident, upTo)
		return err
	})
}
