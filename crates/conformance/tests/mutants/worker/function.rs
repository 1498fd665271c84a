//! The test functions (S1-S6).

use std::time::Duration;

use anyudf_protocol::wire;
use bytes::Bytes;

use super::arrow;
use crate::mutant::{Mutant, Mutation as M};

pub(crate) enum Function {
    Echo,
    Generate {
        next: u64,
        end: u64,
    },
    Sink {
        batches: u64,
    },
    Slow(Duration),
    Hang,
    /// Reads what it is given as Arrow (C10).
    Batches,
}

/// What a call gives, and after which time; without one it never returns.
pub(crate) struct Call {
    pub(crate) takes: Option<Duration>,
    pub(crate) gives: Result<Option<Bytes>, wire::ExecutionError>,
}

impl Function {
    pub(crate) fn open(format: &str, payload: &[u8], mutant: Mutant) -> Result<Self, wire::ExecutionError> {
        let number = || {
            let text = std::str::from_utf8(payload).ok().and_then(|text| text.parse::<u64>().ok());
            text.ok_or_else(|| protocol("the payload is no number"))
        };
        Ok(match format {
            "echo" if payload == b"INIT_ERROR" && !mutant.is(M::InitErrorOpens) => {
                return Err(worker("simulated init failure"));
            }
            "echo" => Function::Echo,
            "echo/generate" => {
                let end = number()?;
                match mutant.0 {
                    Some(M::GeneratesOneTooFew) => Function::Generate { next: 0, end: end.saturating_sub(1) },
                    Some(M::GeneratesFromOne) => Function::Generate { next: 1, end: end + 1 },
                    _ => Function::Generate { next: 0, end },
                }
            }
            "echo/sink" => Function::Sink { batches: 0 },
            "echo/slow" => Function::Slow(Duration::from_millis(number()?)),
            "echo/hang" => Function::Hang,
            "batches" => Function::Batches,
            other => return Err(protocol(&format!("no function has the payload format `{other}`"))),
        })
    }

    /// What comes without being asked for.
    pub(crate) fn generate(&mut self) -> Option<Bytes> {
        let Function::Generate { next, end } = self else { return None };
        let data = (*next < *end).then(|| next.to_string().into());
        *next += u64::from(*next < *end);
        data
    }

    /// What is left to come without being asked for.
    pub(crate) fn is_done(&self) -> bool {
        !matches!(self, Function::Generate { next, end } if next < end)
    }

    pub(crate) fn call(&mut self, data: Bytes, mutant: Mutant) -> Call {
        let at_once = |gives| Call { takes: Some(Duration::ZERO), gives: Ok(gives) };
        match self {
            Function::Echo if data == b"ERROR"[..] && !mutant.is(M::ErrorIsEchoed) => {
                if mutant.is(M::ErrorOfTheWorker) {
                    return Call { takes: Some(Duration::ZERO), gives: Err(worker("simulated user-code error")) };
                }
                let class = (!mutant.is(M::NoErrorClass)).then(|| "SimulatedError".to_owned());
                Call { takes: Some(Duration::ZERO), gives: Err(user("simulated user-code error", class)) }
            }
            Function::Echo if data.is_empty() && mutant.is(M::EchoSkipsEmptyData) => at_once(None),
            // A batch of Arrow that holds no rows is an odd number of metadata, and no body.
            Function::Echo if data.starts_with(&[0xff; 4]) && mutant.is(M::BatchesOfNoRowsAreSkipped) => {
                let metadata = data.get(4..8).map_or(0, |len| u32::from_le_bytes(len.try_into().expect("four")));
                at_once((data.len() > 8 + metadata as usize).then_some(data))
            }
            Function::Echo if mutant.is(M::EchoAddsAByte) => at_once(Some([&data[..], b"!"].concat().into())),
            Function::Echo => at_once(Some(data)),
            Function::Generate { .. } => at_once(None),
            Function::Sink { batches } => {
                *batches += if mutant.is(M::SinkCountsBytes) { data.len() as u64 } else { 1 };
                at_once(mutant.is(M::SinkAnswers).then(Bytes::new))
            }
            Function::Slow(_) if mutant.is(M::SlowIsQuick) => at_once(Some(data)),
            Function::Slow(time) => Call { takes: Some(*time), gives: Ok(Some(data)) },
            Function::Batches => match arrow::check(&data, mutant) {
                Some(()) => at_once(Some(data)),
                None if mutant.is(M::HostileBytesEndTheWorker) => std::process::exit(101),
                None => {
                    let error = protocol("these bytes are no batch of Arrow (C10)");
                    let blamed = mutant.is(M::HostileBytesAreAUserError);
                    let error = if blamed { user("the function found no batch", None) } else { error };
                    Call { takes: Some(Duration::ZERO), gives: Err(error) }
                }
            },
            Function::Hang if mutant.is(M::HangReturns) => at_once(Some(data)),
            Function::Hang => Call { takes: None, gives: Ok(None) },
        }
    }

    /// What it gives at its end.
    pub(crate) fn finish(&self) -> Option<Bytes> {
        match self {
            Function::Sink { batches } => Some(batches.to_string().into()),
            _ => None,
        }
    }
}

pub(crate) fn user(message: &str, error_class: Option<String>) -> wire::ExecutionError {
    let error = wire::UserError { message: message.into(), traceback: None, error_class };
    wire::ExecutionError { kind: Some(wire::execution_error::Kind::User(error)) }
}

pub(crate) fn worker(message: &str) -> wire::ExecutionError {
    let error = wire::WorkerError { message: message.into(), traceback: None };
    wire::ExecutionError { kind: Some(wire::execution_error::Kind::Worker(error)) }
}

pub(crate) fn protocol(message: &str) -> wire::ExecutionError {
    let error = wire::ProtocolError { message: message.into() };
    wire::ExecutionError { kind: Some(wire::execution_error::Kind::Protocol(error)) }
}
