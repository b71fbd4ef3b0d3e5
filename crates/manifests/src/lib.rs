//! Room manifests.
