//! `Manage`: heartbeat and shutdown of a whole worker, flat (M1).

use std::collections::BTreeMap;

use crate::violation::{Rule, Violation};
use crate::wire;

/// What an engine asks of the whole worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManageRequest {
    /// Are you there, and how are you? (M2)
    Heartbeat,
    /// Come to an end (M3, M4).
    Shutdown {
        /// For the log.
        reason: Option<String>,
        /// Whether streams in flight are ended (M4) or waited for (M3).
        cancel_sessions: bool,
    },
}

/// The answer; it has the branch that the request had (M1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManageResponse {
    /// Names and values (M2, M6).
    Heartbeat(BTreeMap<String, String>),
    /// Whether no stream was open any more (M3, M4).
    Shutdown {
        /// `ShutdownResponse.sessions_settled`.
        sessions_settled: bool,
    },
}

impl TryFrom<wire::WorkerRequest> for ManageRequest {
    type Error = Violation;

    fn try_from(request: wire::WorkerRequest) -> Result<Self, Violation> {
        use wire::worker_request::Manage;
        match request.manage {
            Some(Manage::Heartbeat(_)) => Ok(ManageRequest::Heartbeat),
            Some(Manage::Shutdown(shutdown)) => {
                Ok(ManageRequest::Shutdown { cancel_sessions: shutdown.cancel_sessions(), reason: shutdown.reason })
            }
            None => Err(Violation::new(Rule::M1, "got a Manage request that is empty or of an unknown kind")),
        }
    }
}

impl From<ManageRequest> for wire::WorkerRequest {
    fn from(request: ManageRequest) -> Self {
        use wire::worker_request::Manage;
        let manage = match request {
            ManageRequest::Heartbeat => Manage::Heartbeat(wire::Heartbeat {}),
            ManageRequest::Shutdown { reason, cancel_sessions } => {
                Manage::Shutdown(wire::ShutdownRequest { reason, cancel_sessions: cancel_sessions.then_some(true) })
            }
        };
        wire::WorkerRequest { manage: Some(manage) }
    }
}

impl TryFrom<wire::WorkerResponse> for ManageResponse {
    type Error = Violation;

    fn try_from(response: wire::WorkerResponse) -> Result<Self, Violation> {
        use wire::worker_response::Manage;
        match response.manage {
            Some(Manage::Heartbeat(heartbeat)) => Ok(ManageResponse::Heartbeat(heartbeat.metrics)),
            Some(Manage::Shutdown(shutdown)) => {
                Ok(ManageResponse::Shutdown { sessions_settled: shutdown.sessions_settled })
            }
            None => Err(Violation::new(Rule::M1, "got a Manage response that is empty or of an unknown kind")),
        }
    }
}

impl From<ManageResponse> for wire::WorkerResponse {
    fn from(response: ManageResponse) -> Self {
        use wire::worker_response::Manage;
        let manage = match response {
            ManageResponse::Heartbeat(metrics) => Manage::Heartbeat(wire::HeartbeatResponse { metrics }),
            ManageResponse::Shutdown { sessions_settled } => {
                Manage::Shutdown(wire::ShutdownResponse { sessions_settled })
            }
        };
        wire::WorkerResponse { manage: Some(manage) }
    }
}
