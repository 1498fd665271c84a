//! What the engine logs, workers' output above all, goes to standard error, a line each.
//!
//! No thread of ours takes the GIL, so Python's `logging` is not asked. A line is written at once and without a lock, which a
//! fork could leave locked.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, set_global_default};
use tracing::{Event, Level, Metadata, Subscriber};

/// The variable that says how much is shown: off, error, warn, info, debug or trace.
pub(super) const VARIABLE: &str = "ANYUDF_LOG";

/// The target of workers' output.
const OUTPUT: &str = "anyudf_engine::worker";

/// Begins to show what is logged, once in a process. Does nothing where somebody else has begun.
pub(super) fn show() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let asked = std::env::var(VARIABLE).unwrap_or_default().to_lowercase();
        let (ours, output) = match &*asked {
            "off" => (None, None),
            "error" => (Some(Level::ERROR), None),
            "warn" => (Some(Level::WARN), None),
            "info" => (Some(Level::INFO), Some(Level::INFO)),
            "debug" => (Some(Level::DEBUG), Some(Level::DEBUG)),
            "trace" => (Some(Level::TRACE), Some(Level::TRACE)),
            // What functions print is for their callers.
            _ => (Some(Level::WARN), Some(Level::INFO)),
        };
        let _ = set_global_default(Lines { ours, output });
    });
}

/// Writes lines.
struct Lines {
    ours: Option<Level>,
    output: Option<Level>,
}

impl Lines {
    fn shows(&self, metadata: &Metadata<'_>) -> bool {
        let most = match metadata.target() {
            OUTPUT => self.output,
            target if target.starts_with("anyudf") => self.ours,
            _ => self.ours.filter(|&level| level <= Level::WARN),
        };
        metadata.is_event() && most.is_some_and(|most| *metadata.level() <= most)
    }
}

impl Subscriber for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.shows(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.shows(metadata)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = match event.metadata().target() {
            // The worker says itself which execution it is of.
            OUTPUT => format!("{}\n", line.message),
            _ => format!("anyudf: {}{}\n", line.message, line.fields),
        };
        // SAFETY: it is not closed here, and a program that has closed its standard error only loses the line.
        let mut error = ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(2) });
        // There is nowhere to say that it can't be said.
        let _ = error.write_all(text.as_bytes());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
