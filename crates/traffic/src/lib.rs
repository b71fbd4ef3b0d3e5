//! Room traffic.
