//! Room compiler.
