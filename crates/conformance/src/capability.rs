//! What the implementation under test offers, beyond what every one must.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use serde::Deserialize;

use crate::error::Error;

/// Something that not every worker has, or not every engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Capability {
    /// Payloads in chunks (R2).
    Chunking,
    /// Data before InitResponse (C1).
    Pipelining,
    /// Several sessions at once.
    Concurrent,
    /// Shutdown by Manage (M3, M4).
    Shutdown,
    /// The metrics of M2 in heartbeats.
    Metrics,
    /// A port instead of a socket's path (P2).
    Tcp,
    /// The health service (M5).
    Health,
    /// Server reflection (M5).
    Reflection,
    /// SIGTERM with a grace period (P3).
    Sigterm,
    /// It ends when the process that started it is gone (P4).
    ParentDeath,
    /// It replaces a stale socket, and refuses one that is in use (P6).
    StaleSocket,
    /// Messages of 100 MiB (P7).
    LargeMessages,
    /// A token in its environment (P9).
    Token,
    /// A limit of sessions, set by `--max-sessions` (P10).
    SessionLimit,
    /// gzip (P11).
    Gzip,
    /// Deadlines for calls (C11).
    CallTimeout,
    /// The announcements of M6.
    Announces,
    /// Letting go of a session ends it (E12).
    Drop,
    /// Interrupts (E13).
    Interrupt,
    /// Record batches (C9).
    Arrow,
    /// A limit for a worker's silence (E7).
    IdleLimit,
    /// A worker is asked whether it is there while sessions run (E6, D10).
    Heartbeats,
    /// A session that can be misused, because no compiler refuses it (E2).
    Misuse,
}

impl Capability {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Capability; 23] = [
        Capability::Chunking,
        Capability::Pipelining,
        Capability::Concurrent,
        Capability::Shutdown,
        Capability::Metrics,
        Capability::Tcp,
        Capability::Health,
        Capability::Reflection,
        Capability::Sigterm,
        Capability::ParentDeath,
        Capability::StaleSocket,
        Capability::LargeMessages,
        Capability::Token,
        Capability::SessionLimit,
        Capability::Gzip,
        Capability::CallTimeout,
        Capability::Announces,
        Capability::Drop,
        Capability::Interrupt,
        Capability::Arrow,
        Capability::IdleLimit,
        Capability::Heartbeats,
        Capability::Misuse,
    ];

    /// What an implementation has unless it says otherwise.
    pub const DEFAULT: [Capability; 3] = [Capability::Chunking, Capability::Concurrent, Capability::Shutdown];

    /// Its name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Chunking => "chunking",
            Capability::Pipelining => "pipelining",
            Capability::Concurrent => "concurrent",
            Capability::Shutdown => "shutdown",
            Capability::Metrics => "metrics",
            Capability::Tcp => "tcp",
            Capability::Health => "health",
            Capability::Reflection => "reflection",
            Capability::Sigterm => "sigterm",
            Capability::ParentDeath => "parent-death",
            Capability::StaleSocket => "stale-socket",
            Capability::LargeMessages => "large-messages",
            Capability::Token => "token",
            Capability::SessionLimit => "session-limit",
            Capability::Gzip => "gzip",
            Capability::CallTimeout => "call-timeout",
            Capability::Announces => "announces",
            Capability::Drop => "drop",
            Capability::Interrupt => "interrupt",
            Capability::Arrow => "arrow",
            Capability::IdleLimit => "idle-limit",
            Capability::Heartbeats => "heartbeats",
            Capability::Misuse => "misuse",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Capability {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Capability::ALL.into_iter().find(|capability| capability.name() == name).ok_or_else(|| {
            let known: Vec<_> = Capability::ALL.iter().map(|capability| capability.name()).collect();
            format!("there is no capability `{name}`; there are: {}", known.join(", "))
        })
    }
}

/// A function that a worker has for tests: what Init is to say for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// `UdfPayload.format`.
    pub format: String,
    /// `UdfPayload.payload`, as text. `{}` in it stands for the number that a case asks for.
    #[serde(default)]
    pub payload: String,
    /// What makes it fail, as text: for `user-error` alone.
    pub data: Option<String>,
    /// The message that its error has, if that is known.
    pub message: Option<String>,
    /// The `error_class` that its error has, if that is known.
    pub error_class: Option<String>,
}

impl Function {
    /// The payload for a number, or without one.
    pub(crate) fn payload(&self, number: Option<u64>) -> Bytes {
        match number {
            Some(number) => self.payload.replace("{}", &number.to_string()).into(),
            None => self.payload.clone().into(),
        }
    }
}

/// The names by which cases call functions, and the rules that say what they do.
pub(crate) const ROLES: [(&str, &str); 8] = [
    ("echo", "S1"),
    ("init-error", "S1"),
    ("user-error", "S2"),
    ("generate", "S4"),
    ("sink", "S5"),
    ("slow", "S6"),
    ("hang", "S6"),
    // No test function reads Arrow; so only a file of capabilities can say which function of a worker's does.
    ("batches", "C10"),
];

/// All that an implementation offers.
#[derive(Clone, Debug)]
pub struct Capabilities {
    offered: BTreeSet<Capability>,
    functions: BTreeMap<String, Function>,
}

impl Default for Capabilities {
    /// Echo with its errors, chunking, concurrent sessions and Shutdown.
    fn default() -> Self {
        let function = |format: &str, payload: &str| Function {
            format: format.into(),
            payload: payload.into(),
            data: None,
            message: None,
            error_class: None,
        };
        let init_error = Function { message: Some("simulated init failure".into()), ..function("echo", "INIT_ERROR") };
        let user_error = Function {
            data: Some("ERROR".into()),
            message: Some("simulated user-code error".into()),
            error_class: Some("SimulatedError".into()),
            ..function("echo", "conformance")
        };
        let functions =
            [("echo", function("echo", "conformance")), ("init-error", init_error), ("user-error", user_error)];
        Capabilities {
            offered: Capability::DEFAULT.into(),
            functions: functions.map(|(role, function)| (role.to_owned(), function)).into(),
        }
    }
}

/// A file of capabilities.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    offers: Vec<Capability>,
    #[serde(default)]
    without: Vec<Capability>,
    #[serde(default)]
    functions: BTreeMap<String, Function>,
}

impl Capabilities {
    /// All there are, with the functions S4-S6 as well.
    pub fn everything() -> Self {
        let mut all = Capabilities::default();
        all.offered.extend(Capability::ALL);
        all.offer_test_functions();
        all
    }

    /// Offers S4-S6 of docs/protocol.md as they stand there.
    pub fn offer_test_functions(&mut self) {
        for (role, format, payload) in [
            ("generate", "echo/generate", "{}"),
            ("sink", "echo/sink", ""),
            ("slow", "echo/slow", "{}"),
            ("hang", "echo/hang", ""),
        ] {
            let function = Function {
                format: format.into(),
                payload: payload.into(),
                data: None,
                message: None,
                error_class: None,
            };
            self.functions.entry(role.to_owned()).or_insert(function);
        }
    }

    /// Adds what a file says.
    ///
    /// # Errors
    /// A file that can't be read, or says what nobody understands.
    pub fn read(&mut self, path: &Path) -> Result<(), Error> {
        let text =
            fs::read_to_string(path).map_err(|error| Error::new(format!("cannot read {}", path.display()), error))?;
        let file: File = toml::from_str(&text)
            .map_err(|error| Error::new(format!("{} is no file of capabilities", path.display()), error))?;
        if let Some(role) = file.functions.keys().find(|role| ROLES.iter().all(|(known, _)| known != role)) {
            let known: Vec<_> = ROLES.iter().map(|(known, _)| *known).collect();
            let text = format!("{}: no case uses a function `{role}`; there are: {}", path.display(), known.join(", "));
            return Err(Error::text(text));
        }
        self.offered.extend(file.offers);
        self.functions.extend(file.functions);
        file.without.iter().for_each(|capability| self.withdraw(*capability));
        Ok(())
    }

    /// Adds one.
    pub fn offer(&mut self, capability: Capability) {
        self.offered.insert(capability);
    }

    /// Takes one away.
    pub fn withdraw(&mut self, capability: Capability) {
        self.offered.remove(&capability);
    }

    pub(crate) fn has(&self, capability: Capability) -> bool {
        self.offered.contains(&capability)
    }

    pub(crate) fn function(&self, role: &str) -> Option<&Function> {
        self.functions.get(role)
    }
}
