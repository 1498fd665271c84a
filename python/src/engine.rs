//! The engine for Python callers.
