// Package notify delivers the alerts of the outbox to channels.
//
// A Channel sends one message once and says what came of it: delivered, refused for good (Refused), not now (Later), or
// failed. The Dispatcher does everything else: order within an incident and channel, several at once, retries with
// backoff and full jitter over days, dead letters, receipts. Delivery is at least once; the key of a message stays the
// same over all tries, so that a receiver can drop what it has already.
//
// It decides no escalation, composes no alert, and opens no connection that was not configured.
//
// To add a channel: one file with its spec, constructor and Send; its test; one case in New; a row in the documents.
package notify
