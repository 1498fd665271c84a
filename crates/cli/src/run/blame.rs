//! The error of a session, as a user reads it.

use anyudf_engine::ErrorKind;

use crate::failure::Failure;

/// What failed, where, whose fault it was, and what to try.
pub(super) fn blamed(function: &str, error: &anyudf_engine::Error, place: &str) -> Failure {
    if let Some(traceback) = error.execution().and_then(|error| error.traceback.as_deref()) {
        tracing::info!("traceback of `{function}`:\n{traceback}");
    }
    let hint = match error.condition() {
        "CALL_TIMEOUT" => "; try a longer --call-timeout or a smaller --batch-rows",
        "ARROW_ROW_TOO_LARGE" | "MESSAGE_TOO_LARGE" => "; try a larger --max-message-bytes",
        "WORKER_DIED" => "; -v shows everything it printed",
        _ if error.execution().is_some_and(|error| error.traceback.is_some()) => "; -v shows where",
        _ => "",
    };
    let what = match error.kind() {
        ErrorKind::User => format!("function `{function}` failed{place}: {error}{hint}"),
        ErrorKind::Worker => format!("the worker failed to run `{function}`{place}: {error}{hint}"),
        ErrorKind::Cancelled => format!("function `{function}` was cancelled{place}: {error}{hint}"),
        _ => format!("function `{function}` could not be run to its end{place}: {error}{hint}"),
    };
    Failure::failed(what)
}
