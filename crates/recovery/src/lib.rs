//! Room recovery.
