//! The trust command: sign, verify, rotate.
