//! A right engine, as small as can be, and its driver: HTTP/2 by h2, gRPC and the rules by hand.
//!
//! It shares no code with the engine of this project but the types of the messages: what the kit says of the one, it
//! says of another that was written apart from it. Each rule stands in one place, where a mutation can break it. What it
//! does not have is Arrow (docs/conformance-engine.md, Capabilities).

mod connection;
mod driver;
mod metrics;
mod session;
mod stream;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::mutant::Mutant;

/// What a call fails with.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    class: Option<String>,
}

/// Whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    User,
    Worker,
    Protocol,
    Cancelled,
    Misuse,
    Source,
    Transport,
    Interrupted,
}

/// How a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Termination {
    Finished,
    Cancelled,
    Failed,
    TransportFailed,
    Interrupted,
}

impl Failure {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure { kind, message: message.into(), class: None }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Worker => "worker",
            Kind::Protocol => "protocol",
            Kind::Cancelled => "cancelled",
            Kind::Misuse => "misuse",
            Kind::Source => "source",
            Kind::Transport => "transport",
            Kind::Interrupted => "interrupted",
        }
    }
}

impl Termination {
    fn name(self) -> &'static str {
        match self {
            Termination::Finished => "finished",
            Termination::Cancelled => "cancelled",
            Termination::Failed => "failed",
            Termination::TransportFailed => "transport-failed",
            Termination::Interrupted => "interrupted",
        }
    }
}

/// What a finished execution leaves.
#[derive(Clone, Debug, Default)]
struct Summary {
    metrics: BTreeMap<String, String>,
    data: Option<Bytes>,
}

/// How sessions of a driver are (docs/conformance-engine.md, Times).
#[derive(Clone, Debug)]
struct Config {
    payload: Bytes,
    /// Every field that the contract names.
    everything: bool,
    pipelining: bool,
    init_timeout: Duration,
    cancel_timeout: Duration,
    interrupt_timeout: Duration,
    idle_limit: Option<Duration>,
}

/// What the driver says, one object a line.
#[derive(Debug)]
struct Reports(Mutex<File>);

impl Reports {
    fn tell(&self, session: &str, mut report: Value) {
        if !session.is_empty() {
            report["session"] = json!(session);
        }
        // Without the kit there is nobody to tell.
        let _ = self.0.lock().map(|mut file| writeln!(file, "{report}"));
    }
}

/// The driver; returns the exit status. What it reports goes to the descriptor 3: the test runner has something to say
/// on standard output.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>, mutant: Mutant) -> i32 {
    let (mut place, mut scenario) = (String::new(), String::new());
    while let Some(argument) = arguments.next() {
        match &argument[..] {
            "--connection" => place = arguments.next().unwrap_or_default(),
            "--scenario" => scenario = arguments.next().unwrap_or_default(),
            other => eprintln!("what is `{other}`?"),
        }
    }
    let reports = match File::options().write(true).open("/dev/fd/3") {
        Ok(file) => Reports(Mutex::new(file)),
        Err(error) => {
            eprintln!("the descriptor 3 is for reports: {error}");
            return 1;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = runtime.map(|runtime| runtime.block_on(driver::play(&place, &scenario, mutant, &reports)));
    match ended {
        Ok(Ok(())) => 0,
        Ok(Err(error)) | Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}
