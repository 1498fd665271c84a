//! Panics of user code: caught, and told to the engine with where they happened.
//!
//! A hook remembers the backtrace of a panic on a thread of ours and prints nothing there, since the engine is told.
//! Panics of other threads go to whatever hook was there before.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

/// A panic on this thread, as the hook saw it.
#[derive(Default)]
struct Seen {
    place: Option<String>,
    backtrace: Option<Backtrace>,
    row: Option<Row>,
    function: Option<String>,
    /// It is one of many, of which nobody reads the backtraces: to take them takes longer than all else.
    is_of_a_row: bool,
}

/// The row that a function was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Within its batch, counted from 0.
    pub(crate) of_batch: u64,
    /// Within the execution, counted from 0.
    pub(crate) of_execution: u64,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { of_batch, of_execution } = self;
        write!(f, "row {of_batch}")?;
        if of_batch == of_execution { Ok(()) } else { write!(f, " (row {of_execution} of the execution)") }
    }
}

thread_local! {
    /// `Some` while user code runs on this thread.
    static WATCHED: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// What a panic of user code left behind.
#[derive(Debug)]
pub(crate) struct Caught {
    /// What it said.
    pub(crate) message: String,
    /// File, line and column.
    pub(crate) place: Option<String>,
    /// The stack at the panic.
    pub(crate) backtrace: Option<String>,
    /// The row that was worked on, where one was.
    pub(crate) row: Option<Row>,
    /// Which function it was, where there are several.
    pub(crate) function: Option<String>,
}

/// Runs user code and catches its panic.
pub(crate) fn catch<T>(call: impl FnOnce() -> T) -> Result<T, Caught> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !remember(info) {
                others(info);
            }
        }));
    });
    WATCHED.set(Some(Seen::default()));
    // What the call leaves half done is dropped by the caller and never called again.
    let result = catch_unwind(AssertUnwindSafe(call));
    let seen = WATCHED.take().unwrap_or_default();
    result.map_err(|payload| Caught {
        message: text(&*payload),
        place: seen.place,
        backtrace: seen.backtrace.map(|backtrace| backtrace.to_string()),
        row: seen.row,
        function: seen.function,
    })
}

/// Runs a function for one row of many, as a rule within [`catch`], and says what its panic said and where.
#[inline]
pub(crate) fn catch_row<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    // Whatever the row's call leaves half done is its arguments, and these are gone.
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| told(&*payload))
}

#[cold]
fn told(payload: &(dyn Any + Send)) -> String {
    // Nobody watches in a function's own tests.
    let next = Seen { is_of_a_row: true, ..Seen::default() };
    let seen = WATCHED.with_borrow_mut(|watched| watched.as_mut().map(|seen| std::mem::replace(seen, next)));
    let at = seen.and_then(|seen| seen.place).map_or(String::new(), |place| format!(", at {place}"));
    format!("the function panicked: {}{at}", text(payload))
}

/// Says at which row the panic was that is unwinding this thread.
pub(crate) fn at_row(row: Row) {
    note(|seen| seen.row = Some(row));
}

/// Says of which function the panic is that is unwinding this thread.
pub(crate) fn in_function(function: impl fmt::Display) {
    note(|seen| seen.function = Some(function.to_string()));
}

fn note(what: impl FnOnce(&mut Seen)) {
    // Nobody watches in a function's own tests.
    let _ = WATCHED.try_with(|watched| {
        if let Ok(mut watched) = watched.try_borrow_mut()
            && let Some(seen) = watched.as_mut()
        {
            what(seen);
        }
    });
}

/// Keeps what the hook is told, on threads that run user code. Says whether it did.
fn remember(info: &PanicHookInfo<'_>) -> bool {
    WATCHED
        .try_with(|watched| {
            let Ok(mut watched) = watched.try_borrow_mut() else { return false };
            let Some(seen) = watched.as_mut() else { return false };
            seen.place = info.location().map(ToString::to_string);
            seen.backtrace = (!seen.is_of_a_row).then(Backtrace::force_capture);
            true
        })
        .unwrap_or(false)
}

fn text(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).into(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without a text".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R14: a panic keeps its text, its place and its stack.
    #[test]
    fn r14_a_panic_is_caught_with_its_backtrace() {
        let caught = catch(|| -> () { panic!("row {} is cursed", 7) }).unwrap_err();
        assert_eq!(caught.message, "row 7 is cursed");
        assert!(caught.place.is_some_and(|place| place.contains("panics.rs")));
        assert!(caught.backtrace.is_some_and(|stack| stack.contains("a_panic_is_caught_with_its_backtrace")));
        assert_eq!(catch(|| 3).ok(), Some(3));
    }

    /// R14: the panic of a row ends nothing, and the next one keeps its text and its place.
    #[test]
    fn r14_panics_of_rows_are_caught_within() {
        let caught = catch(|| -> Vec<String> {
            (0..3).filter_map(|row| catch_row(|| assert!(row == 1, "row {row} is cursed")).err()).collect()
        });
        let texts = caught.expect("rows alone panicked");
        assert!(texts[0].starts_with("the function panicked: row 0 is cursed, at "), "{texts:?}");
        assert!(texts[1].contains("row 2 is cursed") && texts[1].contains("panics.rs"), "{texts:?}");
        assert_eq!(catch_row(|| 3), Ok(3), "where nobody watches");
    }
}
