//! The command line of a worker (P1).

use std::ffi::OsString;
use std::time::Duration;

use anyudf_grpc::{Endpoint, Settings};

use crate::error::{Error, Result};

/// How a worker is served. [`ServeOptions::parse`] makes it from a command line.
#[derive(Clone)]
pub struct ServeOptions {
    /// Where to listen (P2). Required.
    pub endpoint: Endpoint,
    /// The name the engine gave this worker, for the log. `worker` by default.
    pub id: String,
    /// How long executions in flight may go on after SIGTERM (P3). 4 s by default.
    pub grace: Duration,
    /// Whether the worker ends with the process that started it (P4). It does by default.
    pub parent: Parent,
    /// How many executions are served at once; the next one waits (P10). 256 by default.
    pub max_sessions: usize,
    /// The largest message each way, in bytes (P7). 128 MiB by default.
    pub max_message_bytes: usize,
    /// What callers must show as metadata `anyudf-token` (P9). [`ServeOptions::parse`] does not set it;
    /// [`Worker::run`](crate::Worker::run) takes it from the environment.
    pub token: Option<String>,
}

/// What becomes of a worker whose parent process is gone (P4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parent {
    /// It ends within 5 s.
    #[default]
    Watched,
    /// It stays (`--standalone`).
    Ignored,
}

/// What a command line asks for.
#[derive(Clone, Debug)]
pub enum Asked {
    /// To serve.
    Serve(ServeOptions),
    /// To be told what there is to ask for (`--help`).
    Help,
}

/// What `--help` prints.
pub const USAGE: &str = "\
Serves user-defined functions to engines that speak Spark's UDF protocol.

Options:
  --connection WHERE          a socket path, or a TCP port number (required)
  --id ID                     a name for the log
  --grace SECONDS             time for executions in flight after SIGTERM [4]
  --standalone                stay when the process that started the worker is gone
  --max-sessions N            executions served at once [256]
  --max-message-bytes N       the largest message each way, also as 64MiB [128MiB]
  --help                      this text

Every other option is ignored. With the variable ANYUDF_TOKEN set, callers must show its value.
RUST_LOG sets what is logged to stderr [info].";

impl ServeOptions {
    /// The defaults, listening at `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        ServeOptions {
            endpoint,
            id: "worker".into(),
            grace: Duration::from_secs(4),
            parent: Parent::default(),
            max_sessions: 256,
            max_message_bytes: 128 << 20,
            token: None,
        }
    }

    /// Reads a command line, without the program's name. Flags are `--name value` or `--name=value`; the last of
    /// several wins, since an engine appends its own (P1). Unknown ones, with or without a value, are ignored (P1).
    ///
    /// # Errors
    /// Kind [`Misuse`](crate::ErrorKind::Misuse): `--connection` is missing, or a value is not what it should be.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked> {
        let mut connection = None;
        let mut options = ServeOptions::new(Endpoint::Unix(Default::default()));
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            // What is not UTF-8 is no flag of ours, nor the value of one that takes text.
            let Some(argument) = argument.to_str() else { continue };
            let (name, attached) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (argument, None),
            };
            match name {
                "--help" | "-h" => return Ok(Asked::Help),
                "--standalone" => options.parent = Parent::Ignored,
                "--connection" | "--id" | "--grace" | "--max-sessions" | "--max-message-bytes" => {
                    let value = attached.or_else(|| arguments.next());
                    let value = value.and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
                    let value = value.ok_or_else(|| Error::misuse(format!("{name} needs a value; see --help")))?;
                    let wrong = |what: &str| Error::misuse(format!("{name} is `{value}`, it must be {what}"));
                    match name {
                        "--connection" => connection = Some(value.parse().map_err(Error::misuse)?),
                        "--id" => options.id = value,
                        "--grace" => {
                            options.grace = seconds(&value).ok_or_else(|| wrong("seconds, such as 4 or 0.5"))?
                        }
                        "--max-sessions" => {
                            let number = value.parse().ok().filter(|number| (1..=MOST_SESSIONS).contains(number));
                            options.max_sessions = number.ok_or_else(|| wrong("a number from 1 to 65536"))?;
                        }
                        _ => {
                            let number = bytes(&value).filter(|number| (LEAST_MESSAGE..=MOST_MESSAGE).contains(number));
                            let what = "a number of bytes from 64KiB to 2GiB, such as 67108864 or 64MiB";
                            options.max_message_bytes = number.ok_or_else(|| wrong(what))?;
                        }
                    }
                }
                _ => {} // P1
            }
        }
        options.endpoint = connection.ok_or_else(|| {
            Error::misuse("--connection is missing: give a socket path or a TCP port number; see --help")
        })?;
        Ok(Asked::Serve(options))
    }
}

const MOST_SESSIONS: usize = Settings::MOST_SESSIONS;
const LEAST_MESSAGE: usize = 64 << 10;
const MOST_MESSAGE: usize = 2 << 30;

/// Seconds, with or without the unit, or milliseconds with it.
fn seconds(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.trim().parse::<f64>().ok()? * unit;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Bytes, or a multiple of them in KiB, MiB or GiB.
fn bytes(text: &str) -> Option<usize> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("B", 0), ("", 0)];
    let (number, shift) = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
    number.trim().parse::<usize>().ok()?.checked_mul(1 << shift)
}

impl std::fmt::Debug for ServeOptions {
    /// Says whether there is a token, not which (D13).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServeOptions")
            .field("endpoint", &self.endpoint)
            .field("id", &self.id)
            .field("grace", &self.grace)
            .field("parent", &self.parent)
            .field("max_sessions", &self.max_sessions)
            .field("max_message_bytes", &self.max_message_bytes)
            .field("token", &self.token.as_ref().map(|_| ".."))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<ServeOptions> {
        match ServeOptions::parse(line.split_whitespace().map(OsString::from))? {
            Asked::Serve(options) => Ok(options),
            Asked::Help => Err(Error::misuse("help")),
        }
    }

    /// P1: unknown flags, with or without a value, are ignored, and the engine's own come last.
    #[test]
    fn p1_unknown_flags_are_ignored() {
        let options = parse("--verbose --level 3 --x=1 stray --id a --id w7 --connection /tmp/w --colour").unwrap();
        assert_eq!((options.id.as_str(), &options.endpoint), ("w7", &Endpoint::Unix("/tmp/w".into())));
    }

    /// P2: a number is a port.
    #[test]
    fn p2_a_connection_is_a_path_or_a_port() {
        assert_eq!(parse("--connection=50051").unwrap().endpoint, Endpoint::Tcp(50051));
        assert_eq!(parse("--id x").unwrap_err().kind(), crate::ErrorKind::Misuse);
        assert!(parse("--connection 70000").unwrap_err().to_string().contains("70000"));
    }

    /// P3, P4, P7, P10: what can be set, and what it is otherwise.
    #[test]
    fn p3_p4_p7_p10_settings_have_defaults() {
        let plain = parse("--connection w").unwrap();
        assert_eq!(plain.grace, Duration::from_secs(4));
        assert_eq!((plain.parent, plain.max_sessions), (Parent::Watched, 256));
        assert_eq!(plain.max_message_bytes, 128 << 20);
        let set = "--connection w --grace 0.5 --standalone --max-sessions 2 --max-message-bytes 64MiB";
        let set = parse(set).unwrap();
        assert_eq!(set.grace, Duration::from_millis(500));
        assert_eq!((set.parent, set.max_sessions), (Parent::Ignored, 2));
        assert_eq!(set.max_message_bytes, 64 << 20);
        for wrong in ["--grace soon", "--grace -1", "--max-sessions 0", "--max-message-bytes 1", "--grace"] {
            assert!(parse(&format!("--connection w {wrong}")).is_err(), "{wrong}");
        }
    }

    /// P9, D13: the token is not shown.
    #[test]
    fn p9_the_token_is_not_shown() {
        let mut options = parse("--connection w").unwrap();
        options.token = Some("hush".into());
        assert!(!format!("{options:?}").contains("hush"));
    }
}
