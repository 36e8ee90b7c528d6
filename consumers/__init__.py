"""The log is read: exactly-once host, unify, clock, relay, deliver, pulse."""
