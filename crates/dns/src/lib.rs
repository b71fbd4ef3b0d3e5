//! Room dns.
