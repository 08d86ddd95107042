-- Times are nanoseconds since 1970 in UTC, so that what is read back equals what was written; 0 means none.
-- A ref is health.Ref.String(). Documents are JSON of the type named, with the columns beside them that queries need.

-- One row: where the agent stands.
CREATE TABLE agent (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  serial  INTEGER NOT NULL,          -- of the latest batch: a batch that is tried again is not written twice
  at      INTEGER NOT NULL,          -- newest Batch.At: the clock of the next agent starts here at the earliest
  orderly INTEGER NOT NULL           -- 1: closed in order; 0: in use, or ended without a word
) STRICT;
INSERT INTO agent VALUES (1, 0, 0, 1);

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE state (ref TEXT PRIMARY KEY, doc TEXT NOT NULL /* health.State */) STRICT, WITHOUT ROWID;

CREATE TABLE incident (
  id       TEXT PRIMARY KEY,
  ref      TEXT NOT NULL,
  opened   INTEGER NOT NULL,
  resolved INTEGER NOT NULL,         -- 0: open
  doc      TEXT NOT NULL             -- health.Incident
) STRICT, WITHOUT ROWID;
CREATE INDEX incident_opened ON incident (opened);
CREATE INDEX incident_ref    ON incident (ref, opened);
CREATE INDEX incident_open   ON incident (id) WHERE resolved = 0;

-- The journal: one row for as long as a sensor keeps saying the same.
CREATE TABLE run (
  ref     TEXT NOT NULL,
  sensor  TEXT NOT NULL,
  first   INTEGER NOT NULL,
  last    INTEGER NOT NULL,
  count   INTEGER NOT NULL,
  period  INTEGER NOT NULL,          -- nanoseconds
  outcome TEXT NOT NULL,
  detail  TEXT NOT NULL,
  PRIMARY KEY (ref, sensor, first)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_last ON run (last);

CREATE TABLE note (
  id       INTEGER PRIMARY KEY,
  ref      TEXT NOT NULL,
  incident TEXT NOT NULL,            -- '': belongs to none
  at       INTEGER NOT NULL,
  kind     TEXT NOT NULL,
  text     TEXT NOT NULL,
  data     TEXT NOT NULL             -- JSON, or ''
) STRICT;
CREATE INDEX note_incident ON note (incident, at);

-- A row is delivered when sent > 0, a dead letter when dead > 0, and pending when neither.
CREATE TABLE outbox (
  id       INTEGER PRIMARY KEY AUTOINCREMENT, -- never reused: the order of a line
  channel  TEXT NOT NULL,
  key      TEXT NOT NULL,
  line     TEXT NOT NULL,            -- what is delivered in order: the incident; a notice is a line of its own
  incident TEXT NOT NULL,
  doc      TEXT NOT NULL,            -- health.Alert
  queued   INTEGER NOT NULL,
  since    INTEGER NOT NULL,         -- giving up counts from here: queued, or requeued by a person
  due      INTEGER NOT NULL,
  tries    INTEGER NOT NULL DEFAULT 0,
  last_err TEXT NOT NULL DEFAULT '',
  receipt  TEXT NOT NULL DEFAULT '',
  sent     INTEGER NOT NULL DEFAULT 0,
  dead     INTEGER NOT NULL DEFAULT 0,
  UNIQUE (channel, key)
) STRICT;
CREATE INDEX outbox_line ON outbox (channel, line, id) WHERE sent = 0 AND dead = 0;
CREATE INDEX outbox_dead ON outbox (dead) WHERE dead > 0;
CREATE INDEX outbox_sent ON outbox (sent) WHERE sent > 0;

CREATE TABLE bundle (
  path     TEXT PRIMARY KEY,
  incident TEXT NOT NULL,
  part     INTEGER NOT NULL,
  audience TEXT NOT NULL,
  sha256   TEXT NOT NULL,
  size     INTEGER NOT NULL,
  sealed   INTEGER NOT NULL,
  doomed   INTEGER NOT NULL DEFAULT 0 -- 1: its time is over, and the file is to be deleted
) STRICT, WITHOUT ROWID;
CREATE INDEX bundle_incident ON bundle (incident, part);
