//! What a worker may say at all: the right column of the grammar, whatever a case expects.

use anyudf_protocol::wire;
use prost::Message as _;

use crate::answer::Heard;

/// How far one stream has come, by what the worker has said on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Said {
    #[default]
    Nothing,
    Opened,
    /// `InitResponse` with an error.
    Refused,
    /// `ErrorResponse`.
    Failed,
    /// A terminator.
    Terminated,
    Ended,
}

/// What the engine has said that an end can be the answer to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) finish: bool,
    pub(crate) cancel: bool,
    pub(crate) half_close: bool,
}

impl Asked {
    /// Takes note of a message of the engine's, however odd it is.
    pub(crate) fn note(&mut self, message: &[u8]) {
        use wire::udf_control_request::Control;
        use wire::udf_request::Request;

        let control = match wire::UdfRequest::decode(message).map(|request| request.request) {
            Ok(Some(Request::Control(control))) => control.control,
            _ => None,
        };
        self.finish |= matches!(control, Some(Control::Finish(_)));
        self.cancel |= matches!(control, Some(Control::Cancel(_)));
    }
}

impl Said {
    /// Takes note of what was said; an error names the rule that it breaks.
    pub(crate) fn say(&mut self, heard: &Heard, asked: Asked) -> Result<(), &'static str> {
        *self = match (*self, heard) {
            (Said::Ended, _) => return Err("nothing can come after the end of a stream"),
            (_, Heard::Wrong(_)) => return Err("it is no message of the protocol (R16)"),
            (_, Heard::Cut(_)) => Said::Ended,
            (Said::Terminated, Heard::End(status)) if status.code != 0 => {
                return Err("after a terminator the status is OK: it speaks of transport alone (R14)");
            }
            (before, Heard::End(status)) if status.code == 0 && before != Said::Terminated => {
                return Err("the stream ends with OK, and had no terminator (R13)");
            }
            (_, Heard::End(_)) => Said::Ended,
            (Said::Terminated, _) => return Err("the terminator is the last message (R13)"),
            (Said::Nothing, Heard::Init(init)) => match init.error {
                None => Said::Opened,
                Some(_) => Said::Refused,
            },
            (_, Heard::Init(_)) => return Err("InitResponse comes once, and first (R4)"),
            (Said::Opened, Heard::Data(_)) => Said::Opened,
            (_, Heard::Data(_)) => {
                return Err("DataResponse is between InitResponse and the end of the execution (R6, R7)");
            }
            (Said::Opened, Heard::Error(error)) => match &error.error {
                Some(error) if error.kind.is_some() => Said::Failed,
                _ => return Err("ErrorResponse has an error of exactly one kind (R14)"),
            },
            (Said::Failed, Heard::Error(_)) => return Err("ErrorResponse comes at most once (R7)"),
            (_, Heard::Error(_)) => return Err("ErrorResponse comes only while data is processed (R7)"),
            (Said::Opened, Heard::Finish(_)) if asked.finish => Said::Terminated,
            (Said::Opened, Heard::Finish(_)) => return Err("FinishResponse answers Finish (R10)"),
            (_, Heard::Finish(_)) => return Err("after a failure the terminator is CancelResponse (R8)"),
            // A half-close is reported there, wherever the stream stands (R19).
            (Said::Nothing, Heard::Cancel(_)) if !asked.cancel && !asked.half_close => {
                return Err("without Cancel, InitResponse comes before the terminator (R4)");
            }
            (_, Heard::Cancel(_)) => Said::Terminated,
        };
        Ok(())
    }
}
