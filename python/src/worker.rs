//! Python functions served by the core of the Rust SDK.
