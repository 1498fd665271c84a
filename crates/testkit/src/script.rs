//! The words of a dialogue.

use anyudf_grpc::{Code, Ending, Outgoing, Status};
use anyudf_protocol::{
    CancelResponse, ExecutionError, FinishResponse, InitResponse, Metrics, RequestKind, Response, wire,
};
use bytes::Bytes;

/// One step of a scripted worker.
#[derive(Debug)]
pub enum Step {
    /// Wait until the engine says this word.
    Hear(String),
    /// Say this.
    Say(Outgoing),
    /// End the stream like this.
    End(Ending),
}

/// Reads a script.
///
/// The worker's words: `init`, `init:DATA`, `init-error`, `data:TEXT`, `data*N` (N bytes), `error`, `finish`,
/// `finish:DATA`, `finish-error`, `cancel`, `cancel-error`, `empty` (an empty oneof), `unknown` (an unknown branch),
/// `close` (status OK), `status:CODE` (a number), `reset`.
///
/// # Panics
/// When a word is unknown.
pub fn parse(script: &str) -> Vec<Step> {
    let words: Vec<_> = script.split_whitespace().collect();
    assert!(words.len().is_multiple_of(2), "`>` or `<` before every word: {script}");
    words
        .chunks(2)
        .map(|turn| match *turn {
            [">", word] => Step::Hear(word.into()),
            ["<", word] => say(word),
            _ => panic!("`>` or `<` before every word: {turn:?}"),
        })
        .collect()
}

fn say(word: &str) -> Step {
    let (name, rest) = word.split_once(':').unwrap_or((word, ""));
    let data = (!rest.is_empty()).then(|| Bytes::copy_from_slice(rest.as_bytes()));
    let failure = || Some(ExecutionError::user(format!("scripted {name}")).with_class("SCRIPTED"));
    let response = match name {
        "init" => Response::Init(InitResponse { data, error: None }),
        "init-error" => Response::Init(InitResponse { data: None, error: failure() }),
        "data" => Response::Data(data.unwrap_or_default()),
        "error" => Response::Error(failure().expect("it is one")),
        "finish" => Response::Finish(FinishResponse { metrics: status_ok(), data, error: None }),
        "finish-error" => Response::Finish(FinishResponse { error: failure(), ..Default::default() }),
        "cancel" => Response::Cancel(CancelResponse { metrics: status_ok(), error: None }),
        "cancel-error" => Response::Cancel(CancelResponse { error: failure(), ..Default::default() }),
        "empty" => return Step::Say(Outgoing::control(&wire::UdfResponse::default())),
        "unknown" => {
            let unknown = wire::UdfResponse {
                response: Some(wire::udf_response::Response::Control(wire::UdfControlResponse::default())),
            };
            return Step::Say(Outgoing::control(&unknown));
        }
        "close" => return Step::End(Ending::Close(Status::ok())),
        "status" => {
            let code = Code::from_i32(rest.parse().expect("a number"));
            return Step::End(Ending::Close(Status::new(code, "scripted")));
        }
        "reset" => return Step::End(Ending::Reset),
        other => match other.split_once('*') {
            Some(("data", count)) => Response::Data(vec![b'.'; count.parse().expect("a number")].into()),
            _ => panic!("a worker has no word `{other}`"),
        },
    };
    Step::Say(response.into())
}

fn status_ok() -> Metrics {
    Metrics::default().with_other("status", "ok")
}

/// What a request is called in a log.
pub(crate) fn word(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Init { .. } => "init",
        RequestKind::Chunk { last: false, .. } => "chunk",
        RequestKind::Chunk { last: true, .. } => "chunk-last",
        RequestKind::Data => "data",
        RequestKind::Finish => "finish",
        RequestKind::Cancel => "cancel",
    }
}
