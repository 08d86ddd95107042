// Package store keeps what must survive the agent: states, the journal, incidents, the outbox and where bundles lie, in
// one SQLite database in one folder.
//
// # What is guaranteed
//
// Commit writes one Batch in one transaction: all of it or nothing, also when the agent is killed or power fails at any
// instruction. When Commit returns nil, that batch and every batch before it are on disk.
//
// Commit never waits longer than its context. The transaction runs in a goroutine of the store, because a system call that
// is stuck in a disk cannot be called back. Whatever error Commit returns, other than ErrRefused, ErrClosed and ErrReadOnly,
// the store has taken the batch over and owes it: it is written before every later batch, in order and exactly once, as
// soon as the disk answers; the caller must not give it again. It is lost only if the agent ends before that. So an
// error means "not known to be on disk now", and what memory and disk say agrees again with the next Commit that
// returns nil. Health tells at any time whether something is owed, and why.
//
//   - ErrStalled: the disk did not answer in time. The batch may or may not be durable; its serial number, which is
//     written with it, keeps it from being written twice. While an operation is stuck for more than half a second,
//     Commit returns this at once: a loop that waited a second for each turn would heal nobody.
//   - ErrFull, or another I/O error: it is not written yet. It is tried again with each Commit and every 5 s.
//   - LostError: the database turned out to be malformed and was set aside. The batch is durable in a new, empty one;
//     commit everything that is held in memory.
//
// # What is not
//
// A full disk stops alerts that are not committed yet from being sent until there is room, once the reserve of 16 MiB that
// the store keeps for that moment is used up; a lost disk loses all. The store decides nothing, reads no clock except for the names of set-aside files and the age of a stalled call, and
// deletes no evidence: Prune only says which bundles have outlived their time.
//
// It is the only importer of database/sql.
package store
