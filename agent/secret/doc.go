// Package secret holds what must never be shown: a Value prints as "[redacted]" wherever it ends up, Load says where
// secrets may come from, and a Set removes known secrets from bytes that leave the agent and finds those that survived.
//
// What is guaranteed: no verb of fmt, no JSON, YAML, text or slog output of a Value, and of a struct that holds one,
// exported field or not, shows it. What cannot be: Go strings stay in memory until they are collected, so a core dump
// of the agent holds its secrets; and a Set finds a secret only in the forms listed at forms.
//
// It is not a vault: it stores, encrypts and rotates nothing.
package secret
