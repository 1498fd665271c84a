//! The worker specification: what whoever provides a worker says of it, and what an engine makes of that (D1, D2).

mod faults;

mod plan;

mod json;

mod shape;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyudf_protocol::wire;
use prost::Message;
use wire::udf_worker_specification::Worker;
use wire::worker_connection_spec;

pub use faults::Fault;
pub use plan::{Clamped, DEFAULT_MAX_TIMEOUT, WorkerEnvironment, WorkerPlan};

use crate::error::{Error, ErrorKind};
use crate::launcher::Transport;

/// A specification has a few hundred bytes. What is larger than this is none, and is not read to its end.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// How an engine gets a worker, and what that worker can do: Spark's `UDFWorkerSpecification`.
///
/// On disk it is canonical protobuf JSON; `docs/specification.md` describes it for those who write one. Reading refuses
/// what is no specification, such as a misspelled name. One that can be read and not be used, such as one without a
/// connection, is explained by [`faults`](WorkerSpecification::faults) and refused by
/// [`plan`](WorkerSpecification::plan), before anything starts (D1).
///
/// `Debug` shows the program's name alone, and errors repeat no value (D13).
///
/// # Example
/// ```
/// use anyudf_engine::{DEFAULT_MAX_TIMEOUT, WorkerCommand, WorkerSpecification};
///
/// let specification = WorkerSpecification::new("python3", ["my_worker.py"]).with_reuse();
/// let read = WorkerSpecification::from_json(&specification.to_json())?;
/// assert_eq!(read, specification);
///
/// let plan = read.plan(DEFAULT_MAX_TIMEOUT)?;
/// assert_eq!(plan.runner, WorkerCommand::new("python3", ["my_worker.py"]));
/// assert!(plan.supports_reuse);
/// # Ok::<_, anyudf_engine::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct WorkerSpecification {
    message: wire::UdfWorkerSpecification,
}

/// None of its fields is a floating-point number.
impl Eq for WorkerSpecification {}

impl WorkerSpecification {
    /// A worker that is started as `program` with `arguments`, which `--id` and `--connection` follow (P1).
    ///
    /// It takes Arrow in both directions at once, over a Unix socket, and serves one session a process, unless the
    /// methods below say more. Everything else is unset.
    pub fn new<A: Into<String>>(program: impl Into<String>, arguments: impl IntoIterator<Item = A>) -> Self {
        let capabilities = wire::WorkerCapabilities {
            supported_data_formats: vec![wire::UdfWorkerDataFormat::Arrow.into()],
            supported_communication_patterns: vec![wire::UdfProtoCommunicationPattern::BidirectionalStreaming.into()],
            ..Default::default()
        };
        let runner = Some(callable(program, arguments));
        let message = wire::UdfWorkerSpecification {
            capabilities: Some(capabilities),
            worker: Some(Worker::Direct(wire::DirectWorker { runner, properties: None })),
            ..Default::default()
        };
        WorkerSpecification { message }.with_transport(Transport::Unix)
    }

    /// The same, connected this way (P2).
    pub fn with_transport(mut self, transport: Transport) -> Self {
        let transport = match transport {
            Transport::Unix => worker_connection_spec::Transport::UnixDomainSocket(wire::UnixDomainSocket {}),
            Transport::Tcp => worker_connection_spec::Transport::Tcp(wire::LocalTcpConnection {}),
        };
        self.properties_mut().connection = Some(wire::WorkerConnectionSpec { transport: Some(transport) });
        self
    }

    /// The same, of which a process may serve another session when one has ended (D8).
    pub fn with_reuse(mut self) -> Self {
        self.message.capabilities.get_or_insert_default().supports_reuse = Some(true);
        self
    }

    /// The same, of which a process serves several sessions at once (D8).
    pub fn with_concurrent_udfs(mut self) -> Self {
        self.message.capabilities.get_or_insert_default().supports_concurrent_udfs = Some(true);
        self
    }

    /// The same, which may take this long until it answers (D2): whole milliseconds, at most 24 days.
    pub fn with_initialization_timeout(mut self, timeout: Duration) -> Self {
        self.properties_mut().initialization_timeout_ms = Some(millis(timeout));
        self
    }

    /// The same, which may take this long to end when it is asked to (D2): whole milliseconds, at most 24 days.
    pub fn with_graceful_termination_timeout(mut self, timeout: Duration) -> Self {
        self.properties_mut().graceful_termination_timeout_ms = Some(millis(timeout));
        self
    }

    /// The same, whose worker gets this variable beside those of the engine.
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let runner = self.direct_mut().runner.get_or_insert_default();
        runner.environment_variables.insert(name.into(), value.into());
        self
    }

    /// The same, where this program installs what the worker needs (D3).
    pub fn with_installation<A>(mut self, program: impl Into<String>, arguments: impl IntoIterator<Item = A>) -> Self
    where
        A: Into<String>,
    {
        self.message.environment.get_or_insert_default().installation = Some(callable(program, arguments));
        self
    }

    /// The same, where installation is needless when this program ends with exit status 0 (D3).
    pub fn with_verification<A>(mut self, program: impl Into<String>, arguments: impl IntoIterator<Item = A>) -> Self
    where
        A: Into<String>,
    {
        self.message.environment.get_or_insert_default().environment_verification = Some(callable(program, arguments));
        self
    }

    /// The same, where this program takes away what installation left (D3).
    pub fn with_cleanup<A>(mut self, program: impl Into<String>, arguments: impl IntoIterator<Item = A>) -> Self
    where
        A: Into<String>,
    {
        self.message.environment.get_or_insert_default().environment_cleanup = Some(callable(program, arguments));
        self
    }

    /// Reads canonical protobuf JSON. Names may be in lowerCamelCase or as the `.proto` file has them.
    ///
    /// A specification that can't be used is read all the same; [`check`](WorkerSpecification::check) says so.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`], `SPECIFICATION_SYNTAX`: it is no JSON or no specification; a field that is not known or
    /// given twice counts as that. The text has line, column and the path of the field, and repeats no value (D13).
    pub fn from_json(text: &str) -> Result<Self, Error> {
        WorkerSpecification::parse(text, "the worker specification")
    }

    /// Reads a file of canonical protobuf JSON. Blocks while it does.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`]: `SPECIFICATION_NOT_READ` when the file can't be read, or is too large for a specification;
    /// `SPECIFICATION_SYNTAX` as in [`from_json`](WorkerSpecification::from_json), and when it is not UTF-8.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let what = format!("the worker specification `{}`", path.display());
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            let text = format!("can't read {what}");
            return Err(Error::with_source(ErrorKind::Misuse, "SPECIFICATION_NOT_READ", text, error));
        }
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let text = format!("{what} is larger than 1 MiB, which no specification is; name another file");
            return Err(Error::new(ErrorKind::Misuse, "SPECIFICATION_NOT_READ", text));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => WorkerSpecification::parse(text, &what),
            Err(error) => {
                let line = bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count() + 1;
                let text = format!("{what}: line {line} is not UTF-8; save the file in that encoding");
                Err(Error::new(ErrorKind::Misuse, "SPECIFICATION_SYNTAX", text))
            }
        }
    }

    fn parse(text: &str, what: &str) -> Result<Self, Error> {
        let misread = |fault| Error::new(ErrorKind::Misuse, "SPECIFICATION_SYNTAX", format!("{what}: {fault}"));
        Ok(WorkerSpecification { message: json::read(text).map_err(misread)? })
    }

    /// Canonical protobuf JSON, indented, with a newline at its end. The same specification always gives the same text.
    ///
    /// It holds arguments and values of variables: it is for files, not for logs (D13).
    pub fn to_json(&self) -> String {
        json::write(&self.message)
    }

    /// 32 hexadecimal digits that are the same for equal specifications, on any machine and in any release, and differ
    /// for others: 128 bits of FNV-1a over the encoded message. For caches.
    ///
    /// It is not made to keep secrets or to withstand somebody who looks for a second specification with the same one.
    pub fn identity(&self) -> String {
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let encoded = self.message.encode_to_vec(); // maps are ordered
        let hash = encoded.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
        format!("{hash:032x}")
    }

    /// The program that is started: all that may be said of a specification in logs and errors (D13).
    pub fn program(&self) -> Option<&str> {
        self.direct()?.runner.as_ref()?.command.first().map(String::as_str)
    }

    fn direct(&self) -> Option<&wire::DirectWorker> {
        match &self.message.worker {
            Some(Worker::Direct(direct)) => Some(direct),
            None => None,
        }
    }

    fn direct_mut(&mut self) -> &mut wire::DirectWorker {
        let worker = self.message.worker.get_or_insert_with(|| Worker::Direct(wire::DirectWorker::default()));
        let Worker::Direct(direct) = worker;
        direct
    }

    fn properties_mut(&mut self) -> &mut wire::UdfWorkerProperties {
        self.direct_mut().properties.get_or_insert_default()
    }
}

impl fmt::Debug for WorkerSpecification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerSpecification").field("program", &self.program()).finish_non_exhaustive()
    }
}

fn callable<A: Into<String>>(
    program: impl Into<String>,
    arguments: impl IntoIterator<Item = A>,
) -> wire::ProcessCallable {
    wire::ProcessCallable {
        command: vec![program.into()],
        arguments: arguments.into_iter().map(Into::into).collect(),
        ..Default::default()
    }
}

fn millis(time: Duration) -> i32 {
    time.as_millis().try_into().unwrap_or(i32::MAX)
}
