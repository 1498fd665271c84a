//! A dialogue with an engine, as cases write it: one step a line.
//!
//! The reader's guide is docs/conformance-engine.md; this file is what it describes.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::answer::Message;
use super::server::{Mood, Reading};
use super::{report, request};
use crate::answer::{Status, code};
use crate::capability::Capability;
use crate::expect::{Alternative, alternatives};
use crate::line::{Words, pair, text};
use crate::message::Shape;
use crate::step::{self, Block};
use crate::value::Value;
use crate::wire::Dial;

/// One line of a script.
pub(crate) type Step = step::Step<Act>;

/// What a line asks for. Streams have names; the one without a name is `""`.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// `listen …`: windows, frames, a port.
    Listen(Dial, bool),
    /// `announce NAME="VALUE"`: what each heartbeat says (M6).
    Announce(String, String),
    /// `< message`.
    Send {
        stream: String,
        message: Message,
        shape: Shape,
    },
    /// `< frames "…"`: bytes on the stream, without gRPC's five.
    Frames {
        stream: String,
        bytes: Bytes,
    },
    /// `< fill SIZE below SIZE`: data until nothing more is taken, which must be before so much was sent.
    Fill {
        stream: String,
        value: Value,
        below: usize,
    },
    /// `< end [STATUS]`, `< end none`.
    End {
        stream: String,
        status: Option<Status>,
    },
    /// `< http 503`.
    Http {
        stream: String,
        status: u16,
    },
    Reset {
        stream: String,
    },
    /// `> …`.
    Expect {
        stream: String,
        alternatives: Vec<Alternative<request::Pattern>>,
        within: Option<Duration>,
    },
    /// `reports …`.
    Reports {
        session: String,
        alternatives: Vec<Alternative<report::Pattern>>,
        within: Option<Duration>,
    },
    /// `gives up`: the worker leaves the engine no other way, which may then end its half without a terminator.
    GivesUp,
    /// `tell`: the driver acts.
    Tell,
    /// `payload SIZE`: what has come as payload is that (R3).
    Payload {
        stream: String,
        value: Value,
    },
    /// `stop reading`, `stop crediting`, `go on`.
    Read {
        stream: String,
        reading: Reading,
    },
    /// `disconnect`: all connections are cut.
    Disconnect,
    /// `manage answers`, `manage silent`, `manage refuses STATUS`.
    Manage(Mood),
    /// `manage asked 2`: so many heartbeats from now on.
    Asked {
        count: usize,
        within: Option<Duration>,
    },
    Wait(Duration),
    /// `memory mark`, `memory below +64Mi`.
    MemoryMark,
    MemoryBelow(u64),
    /// `repeat 3 {`.
    Repeat {
        count: usize,
        steps: Vec<Step>,
    },
}

impl Block for Act {
    fn steps(&mut self) -> Option<&mut Vec<Step>> {
        match self {
            Act::Repeat { steps, .. } => Some(steps),
            _ => None,
        }
    }
}

impl Act {
    /// What an engine must have for it.
    fn need(&self) -> Option<Capability> {
        match self {
            Act::Listen(_, true) => Some(Capability::Tcp),
            Act::Asked { .. } => Some(Capability::Heartbeats),
            _ => None,
        }
    }
}

/// A scenario, and the worker's part of it.
#[derive(Clone, Debug)]
pub(crate) struct Dialogue {
    pub(crate) scenario: String,
    pub(crate) steps: Vec<Step>,
    pub(crate) needs: BTreeSet<Capability>,
}

impl Dialogue {
    /// Reads a script.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub(crate) fn parse(scenario: &str, source: &str) -> Result<Self, String> {
        let mut needs = needed(scenario)?;
        let steps = step::steps(source, |line| {
            let act = act(line)?;
            needs.extend(act.need());
            Ok(act)
        })?;
        Ok(Dialogue { scenario: scenario.into(), steps, needs })
    }
}

/// The flows of the contract, each with the actions that it can have.
const FLOWS: &[(&str, &[&str])] = &[
    ("echo", &["cancel", "close", "interrupt"]),
    ("nothing", &[]),
    ("held", &["finish", "fail", "cancel", "cancel-twice", "cancel-long", "close", "drop", "interrupt"]),
    ("open", &["cancel", "close", "drop"]),
    ("unopened", &["cancel", "close"]),
    ("unread", &["cancel"]),
    ("flood", &["cancel", "close"]),
    ("init-twice", &[]),
    ("process-first", &[]),
    ("process-twice", &[]),
    ("afterwards", &[]),
    ("source-fails", &[]),
    ("source-fails-at-once", &[]),
    ("everything", &[]),
    ("two", &[]),
    ("idle", &[]),
    ("idle-flood", &[]),
    ("idle-held", &["finish"]),
    ("idle-unread", &[]),
    ("pipelined", &[]),
];

/// What an engine must have for a scenario.
fn needed(scenario: &str) -> Result<BTreeSet<Capability>, String> {
    let unknown = || format!("docs/conformance-engine.md has no scenario `{scenario}`");
    let (flow, action) = match scenario.split_once('/') {
        Some((flow, action)) => (flow, Some(action)),
        None => (scenario, None),
    };
    let number = action.and_then(|action| action.parse::<usize>().ok());
    let known = match (flow, action) {
        ("payload" | "rows", Some(_)) => number.is_some(),
        _ => {
            let flow = FLOWS.iter().find(|(known, _)| *known == flow);
            flow.is_some_and(|(_, actions)| action.is_none_or(|action| actions.contains(&action)))
        }
    };
    if !known {
        return Err(unknown());
    }
    let flow = match flow {
        "rows" => Some(Capability::Arrow),
        "two" => Some(Capability::Concurrent),
        "payload" if number.is_some_and(|bytes| bytes > 1 << 20) => Some(Capability::Chunking),
        "idle" | "idle-flood" | "idle-held" | "idle-unread" => Some(Capability::IdleLimit),
        "pipelined" => Some(Capability::Pipelining),
        "init-twice" | "process-first" | "process-twice" => Some(Capability::Misuse),
        _ => None,
    };
    let action = match action {
        Some("drop") => Some(Capability::Drop),
        Some("interrupt") => Some(Capability::Interrupt),
        _ => None,
    };
    Ok(flow.into_iter().chain(action).collect())
}

/// One line.
fn act(line: &str) -> Result<Act, String> {
    let mut words = Words::of(line)?;
    let first = words.word("a step")?;
    let act = match first {
        "listen" => listen(&mut words)?,
        "announce" => match pair(words.word("NAME=\"VALUE\"")?) {
            (name, Some(value)) => Act::Announce(name.into(), text(value)?),
            (name, None) => return Err(format!("what is `{name}`?")),
        },
        "tell" => Act::Tell,
        "gives" if words.take("up") => Act::GivesUp,
        "reports" => reports(String::new(), &mut words)?,
        "payload" => Act::Payload { stream: String::new(), value: words.value("what it is")? },
        "stop" if words.take("reading") => Act::Read { reading: Reading::Stopped, stream: name(&mut words) },
        "stop" if words.take("crediting") => Act::Read { reading: Reading::Uncredited, stream: name(&mut words) },
        "go" if words.take("on") && words.take("reading") => {
            Act::Read { reading: Reading::Credited, stream: name(&mut words) }
        }
        "disconnect" => Act::Disconnect,
        "manage" => match words.word("answers, silent, refuses or asked")? {
            "answers" => Act::Manage(Mood::Answers),
            "silent" => Act::Manage(Mood::Silent),
            "refuses" => Act::Manage(Mood::Refuses(code(words.word("a status")?)?)),
            "asked" => Act::Asked { count: words.number("how often")?, within: within(&mut words)? },
            other => return Err(format!("Manage has no `{other}`")),
        },
        "wait" => Act::Wait(words.time("how long")?),
        "memory" => match words.word("mark or below")? {
            "mark" => Act::MemoryMark,
            "below" => Act::MemoryBelow(size(words.word("a size such as +64Mi")?.trim_start_matches('+'))? as u64),
            other => return Err(format!("memory has no `{other}`")),
        },
        "repeat" => {
            let count = words.number("how often")?;
            match words.take("{") {
                true => Act::Repeat { count, steps: Vec::new() },
                false => return Err("`{` is missing at the end".into()),
            }
        }
        session if words.take("reports") => reports(session.into(), &mut words)?,
        other => stream_act(other, &mut words)?,
    };
    words.end()?;
    Ok(act)
}

/// A line of one stream: `>`, `<`, or with its name before: `a>`, `a<`.
fn stream_act(first: &str, words: &mut Words<'_>) -> Result<Act, String> {
    let stream = |mark: char| first.strip_suffix(mark).filter(|name| name.chars().all(char::is_alphanumeric));
    if let Some(stream) = stream('>') {
        let alternatives = alternatives(words)?;
        return Ok(Act::Expect { stream: stream.into(), alternatives, within: within(words)? });
    }
    let Some(stream) = stream('<').map(String::from) else {
        return Err(format!("no step begins with `{first}`"));
    };
    let word = words.peek().unwrap_or_default();
    if matches!(word, "frames" | "fill" | "end" | "http" | "reset") {
        words.next();
    }
    Ok(match word {
        "frames" => Act::Frames { stream, bytes: words.value("bytes")?.bytes() },
        "fill" => {
            let value = words.value("the size of one message")?;
            let below = match words.take("below") {
                true => size(words.word("a size")?)?,
                false => return Err("`below` is missing".into()),
            };
            Act::Fill { stream, value, below }
        }
        "end" => Act::End { stream, status: status(words)? },
        "http" => Act::Http { stream, status: words.number("a status of HTTP's")? },
        "reset" => Act::Reset { stream },
        _ => {
            let message = Message::parse(words)?;
            Act::Send { stream, message, shape: Shape::parse(words)? }
        }
    })
}

/// `[STATUS ["message"] | none]`, OK without it.
fn status(words: &mut Words<'_>) -> Result<Option<Status>, String> {
    let code = match words.next() {
        None => 0,
        Some("none") => return Ok(None),
        Some(name) => code(name)?,
    };
    let message = words.next().map(text).transpose()?.unwrap_or_default();
    Ok(Some(Status { code, message }))
}

fn reports(session: String, words: &mut Words<'_>) -> Result<Act, String> {
    Ok(Act::Reports { session, alternatives: alternatives(words)?, within: within(words)? })
}

fn listen(words: &mut Words<'_>) -> Result<Act, String> {
    let (mut dial, mut tcp) = (Dial::default(), false);
    let bytes = |value: &str| u32::try_from(size(value)?).map_err(|_| format!("`{value}` is too much"));
    while let Some(word) = words.next() {
        match pair(word) {
            ("tcp", None) => tcp = true,
            ("window", Some(value)) => dial.window = within_http2(bytes(value)?, 0..=i32::MAX as u32)?,
            ("connection-window", Some(value)) => {
                dial.connection_window = within_http2(bytes(value)?, 65_535..=i32::MAX as u32)?;
            }
            ("max-frame", Some(value)) => dial.max_frame = within_http2(bytes(value)?, 16_384..=(1 << 24) - 1)?,
            _ => return Err(format!("a worker does not listen with `{word}`")),
        }
    }
    Ok(Act::Listen(dial, tcp))
}

/// A number of bytes, if HTTP/2 can have it.
fn within_http2(bytes: u32, range: RangeInclusive<u32>) -> Result<u32, String> {
    match range.contains(&bytes) {
        true => Ok(bytes),
        false => Err(format!("HTTP/2 has from {} to {} bytes there, not {bytes}", range.start(), range.end())),
    }
}

fn size(word: &str) -> Result<usize, String> {
    match Value::parse(word)? {
        Value::Sized(bytes) => Ok(bytes),
        other => Err(format!("{other} is no size")),
    }
}

fn name(words: &mut Words<'_>) -> String {
    words.next().unwrap_or_default().into()
}

/// `within 5s`, if it is there.
fn within(words: &mut Words<'_>) -> Result<Option<Duration>, String> {
    match words.take("within") {
        true => words.time("how long").map(Some),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read() {
        let dialogue = Dialogue::parse(
            "held/interrupt",
            r#"
            # a comment
            listen tcp window=64Ki
            announce features="pipelining"
            > init format="echo" | cancel       # another
            < init-response data=@schema {split=1 unknown}
            b> data* ; finish within 2s
            tell
            < fill 64Ki below 32Mi
            < end UNAVAILABLE "gone"
            < end none
            manage asked 2 within 1s
            repeat 2 {
                < data "x"
            }
            reports data "x" ; error read kind=user says="boom" | nothing 200ms
            b reports closed finished
            memory below +64Mi
            "#,
        );
        let dialogue = dialogue.expect("it is fine");
        assert_eq!(dialogue.steps.len(), 14);
        let needs: Vec<_> = dialogue.needs.iter().map(|need| need.name()).collect();
        assert_eq!(needs, ["tcp", "interrupt", "heartbeats"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (scenario, script, says) in [
            ("echo", "> init\n< init-respons", "line 2, `< init-respons`: a worker has no message `init-respons`"),
            ("echo", "> inti", "an engine has no message `inti`"),
            ("echo", "< end OKAY", "gRPC has no status `OKAY`"),
            ("echo", "repeat 2 {\n< data 1", "the block is not closed"),
            ("echo", "reports done now", "what is `now` of Done?"),
            ("echo", "dance", "no step begins with `dance`"),
            ("echo", "listen max-frame=1Ki", "HTTP/2 has from 16384 to 16777215 bytes there, not 1024"),
            ("echo", "> gone ; finish", "nothing comes after `gone`"),
            ("echo/drop", "", "no scenario `echo/drop`"),
            ("payload/many", "", "no scenario `payload/many`"),
        ] {
            let error = Dialogue::parse(scenario, script).expect_err(script);
            assert!(error.contains(says), "{script}: {error}");
        }
    }

    /// The contract and this file know the same flows and actions.
    #[test]
    fn the_contract_has_every_scenario() {
        let contract = include_str!("../../conformance-engine.md");
        let row = |name: &str| contract.contains(&format!("\n| `{name}` |"));
        for (flow, actions) in FLOWS {
            assert!(row(flow), "{flow}");
            assert!(actions.iter().all(|action| row(action)), "{flow}");
        }
        assert!(row("payload/N") && row("rows/N"));
    }
}
