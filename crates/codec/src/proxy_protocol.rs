//! To come with its first line.
