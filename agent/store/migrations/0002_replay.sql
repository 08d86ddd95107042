-- What a run of the journal holds for a replay: the first observation, whole, and each of the others that changed something,
-- with what was decided upon it. JSON, written and read by package agent; '' in runs that are older, and in those of lists.
ALTER TABLE run ADD COLUMN data TEXT NOT NULL DEFAULT '';
CREATE INDEX note_ref ON note (ref, at);
