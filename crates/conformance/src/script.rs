//! A dialogue, as cases write it: one step a line.
//!
//! The reader's guide is docs/conformance.md; this file is what it describes.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::answer::{MetricCheck, Pattern, code};
use crate::capability::Capability;
use crate::expect::{Alternative, alternatives};
use crate::line::{Words, number, pair, text, time};
use crate::message::{Message, Shape};
use crate::process::{Socket, Start};
use crate::step::{self, Block};
use crate::wire::{Call, Dial, EXECUTE, Metadata, Reading};

/// One line of a script.
pub(crate) type Step = step::Step<Act>;

/// What a line asks for. Streams have names; the one without a name is `""`.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// `start …`: a worker of this case's own.
    Start(Start),
    /// `start … refused`: it ends with an error instead of serving.
    Refused(Start, Vec<String>),
    /// `connect …`: another connection for what follows.
    Connect(Dial),
    /// `disconnect`: the connection is cut, streams and all.
    Disconnect,
    /// `open …`.
    Open {
        stream: String,
        call: Box<Call>,
    },
    /// `> message`.
    Send {
        stream: String,
        message: Message,
        shape: Shape,
    },
    /// `> frames "…"`: bytes on the stream, without gRPC's five.
    Frames {
        stream: String,
        bytes: bytes::Bytes,
    },
    /// `> fill SIZE`: data until nothing more is taken; at most so many.
    Fill {
        stream: String,
        value: crate::value::Value,
        most: usize,
    },
    /// `> half-close`, `> reset`.
    HalfClose {
        stream: String,
    },
    Reset {
        stream: String,
    },
    /// `< …`.
    Expect {
        stream: String,
        alternatives: Vec<Alternative<Pattern>>,
        within: Option<Duration>,
    },
    /// `stop reading`, `go on reading`, `read slowly`.
    Read {
        stream: String,
        reading: Reading,
    },
    /// `wait 100ms`.
    Wait(Duration),
    /// `manage heartbeat …`.
    Heartbeat {
        metadata: Metadata,
        checks: Vec<MetricCheck>,
        within: Option<Duration>,
        eventually: bool,
    },
    /// `manage shutdown [cancel] settled=…`.
    Shutdown {
        metadata: Metadata,
        cancel: bool,
        settled: Option<bool>,
        background: bool,
    },
    /// `manage answered settled=true`: the one that was sent in the background.
    Answered {
        settled: Option<bool>,
    },
    /// `manage bytes "…" status CODE`, `manage empty status CODE`.
    ManageRaw {
        metadata: Metadata,
        body: bytes::Bytes,
        code: u32,
    },
    /// `call PATH status CODE`.
    CallRaw {
        path: String,
        code: u32,
    },
    /// `health SERVICE is SERVING`.
    Health {
        service: String,
        serving: bool,
    },
    /// `reflection lists NAME`.
    Reflection {
        name: String,
    },
    /// `signal TERM`, `kill launcher`.
    Signal(i32),
    KillLauncher,
    /// `exits [STATUS] within 5s`.
    Exits {
        status: Option<i32>,
        within: Duration,
    },
    /// `worker gone within 5s`: also one that a launcher started.
    Gone {
        within: Duration,
    },
    /// `socket gone`, `socket mode 600`.
    SocketGone,
    SocketMode(u32),
    /// `still runs`.
    Runs,
    /// `prints no "text"`: once it has ended, not at all.
    PrintsNo(String),
    /// `memory mark`, `memory below +64Mi`.
    MemoryMark,
    MemoryBelow(u64),
    /// `repeat 3 {`, `parallel 64 {`: what stands between the braces, so often.
    Repeat {
        count: usize,
        parallel: bool,
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

/// A whole script.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) steps: Vec<Step>,
    /// The functions it calls, by role.
    pub(crate) roles: BTreeSet<String>,
    pub(crate) needs: BTreeSet<Capability>,
    /// It starts a worker of its own.
    pub(crate) starts: bool,
    /// It connects over IPv6, which not every machine has.
    pub(crate) ipv6: bool,
    /// It starts a worker whose log is full, which not every machine can offer.
    pub(crate) full_log: bool,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        let mut script = Script {
            steps: vec![],
            roles: BTreeSet::new(),
            needs: BTreeSet::new(),
            starts: false,
            ipv6: false,
            full_log: false,
        };
        let steps = step::steps(source, |line| {
            let act = act(line)?;
            script.note(&act);
            Ok(act)
        })?;
        Ok(Script { steps, ..script })
    }

    /// What a step needs.
    fn note(&mut self, act: &Act) {
        match act {
            Act::Send { message: Message::Init(init), shape, .. } => {
                self.roles.insert(init.role.clone());
                self.needs.extend(init.chunked.then_some(Capability::Chunking));
                self.needs.extend(shape.gzip.then_some(Capability::Gzip));
            }
            Act::Send { message: Message::Fatal, .. } => {
                self.roles.insert("user-error".into());
            }
            Act::Send { shape, .. } => self.needs.extend(shape.gzip.then_some(Capability::Gzip)),
            Act::Start(start) | Act::Refused(start, _) => {
                self.starts = true;
                self.full_log |= start.full_log;
                self.needs.extend(start.tcp.then_some(Capability::Tcp));
                self.needs.extend((start.socket != Socket::Nothing).then_some(Capability::StaleSocket));
                self.needs.extend(start.launcher.then_some(Capability::ParentDeath));
            }
            Act::Connect(dial) => self.ipv6 |= dial.ipv6,
            Act::Shutdown { .. } => {
                self.needs.insert(Capability::Shutdown);
            }
            Act::Health { .. } => {
                self.needs.insert(Capability::Health);
            }
            Act::Reflection { .. } => {
                self.needs.insert(Capability::Reflection);
            }
            Act::Heartbeat { checks, .. } if !checks.is_empty() => {
                self.needs.insert(Capability::Metrics);
            }
            Act::Signal(_) => {
                self.needs.insert(Capability::Sigterm);
            }
            Act::Repeat { parallel: true, .. } => {
                self.needs.insert(Capability::Concurrent);
            }
            _ => {}
        }
    }
}

/// One line.
fn act(line: &str) -> Result<Act, String> {
    let mut words = Words::of(line)?;
    let first = words.word("a step")?;
    let act = match first {
        "start" => start(&mut words)?,
        "connect" => Act::Connect(dial(&mut words)?),
        "disconnect" => Act::Disconnect,
        "open" => Act::Open { stream: String::new(), call: Box::new(call(&mut words)?) },
        "stop" if words.take("reading") => Act::Read { stream: name(&mut words), reading: Reading::Off },
        "read" if words.take("slowly") => Act::Read { stream: name(&mut words), reading: Reading::Slowly },
        "go" if words.take("on") && words.take("reading") => {
            Act::Read { stream: name(&mut words), reading: Reading::On }
        }
        "wait" => Act::Wait(words.time("how long")?),
        "manage" => manage(&mut words)?,
        "call" => {
            let path = text(words.word("a path in quotes")?)?;
            Act::CallRaw { path, code: status(&mut words)? }
        }
        "health" => {
            let service = text(words.word("a service in quotes")?)?;
            let serving = match (words.word("is")?, words.word("SERVING or NOT_SERVING")?) {
                ("is", "SERVING") => true,
                ("is", "NOT_SERVING") => false,
                (_, other) => return Err(format!("no service is `{other}`")),
            };
            Act::Health { service, serving }
        }
        "reflection" if words.take("lists") => Act::Reflection { name: words.word("a name")?.into() },
        "signal" => match words.word("a signal")? {
            "TERM" => Act::Signal(15),
            other => return Err(format!("no case sends the signal `{other}`")),
        },
        "kill" if words.take("launcher") => Act::KillLauncher,
        "exits" => {
            let status = match words.peek() {
                Some("within") | None => None,
                Some(status) => {
                    words.next();
                    Some(number(status)?)
                }
            };
            Act::Exits { status, within: within(&mut words)?.ok_or("`within` is missing")? }
        }
        "worker" if words.take("gone") => Act::Gone { within: within(&mut words)?.ok_or("`within` is missing")? },
        "socket" => match words.word("gone or mode")? {
            "gone" => Act::SocketGone,
            "mode" => {
                let mode = words.word("a mode")?;
                Act::SocketMode(u32::from_str_radix(mode, 8).map_err(|_| format!("`{mode}` is no mode"))?)
            }
            other => return Err(format!("a socket has no `{other}`")),
        },
        "still" if words.take("runs") => Act::Runs,
        "prints" if words.take("no") => Act::PrintsNo(text(words.word("what, in quotes")?)?),
        "memory" => match words.word("mark or below")? {
            "mark" => Act::MemoryMark,
            "below" => {
                let most = words.word("a size such as +64Mi")?;
                let most = crate::value::Value::parse(most.trim_start_matches('+'))?;
                match most {
                    crate::value::Value::Sized(bytes) => Act::MemoryBelow(bytes as u64),
                    other => return Err(format!("{other} is no size")),
                }
            }
            other => return Err(format!("memory has no `{other}`")),
        },
        "repeat" | "parallel" => {
            let count = words.number("how often")?;
            match words.take("{") {
                true => Act::Repeat { count, parallel: first == "parallel", steps: Vec::new() },
                false => return Err("`{` is missing at the end".into()),
            }
        }
        other => return stream_act(other, words),
    };
    words.end()?;
    Ok(act)
}

/// A line of one stream: `>`, `<`, or with its name before: `a>`, `a<`, `a:`.
fn stream_act(first: &str, mut words: Words<'_>) -> Result<Act, String> {
    let stream = |mark: char| first.strip_suffix(mark).filter(|name| name.chars().all(char::is_alphanumeric));
    let act = if let Some(stream) = stream('>') {
        let stream = stream.to_owned();
        match words.peek().unwrap_or("") {
            "half-close" => {
                words.next();
                Act::HalfClose { stream }
            }
            "reset" => {
                words.next();
                Act::Reset { stream }
            }
            "frames" => {
                words.next();
                Act::Frames { stream, bytes: words.value("bytes")?.bytes() }
            }
            "fill" => {
                words.next();
                let value = words.value("the size of one message")?;
                let most = if words.take("most") { words.number("how many")? } else { 10_000 };
                Act::Fill { stream, value, most }
            }
            _ => {
                let message = Message::parse(&mut words)?;
                Act::Send { stream, message, shape: Shape::parse(&mut words)? }
            }
        }
    } else if let Some(stream) = stream('<') {
        let alternatives = alternatives(&mut words)?;
        Act::Expect { stream: stream.into(), alternatives, within: within(&mut words)? }
    } else if let Some(stream) = stream(':') {
        match words.word("what")? {
            "open" => Act::Open { stream: stream.into(), call: Box::new(call(&mut words)?) },
            other => return Err(format!("a stream has no `{other}`")),
        }
    } else {
        return Err(format!("no step begins with `{first}`"));
    };
    words.end()?;
    Ok(act)
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

/// `status CODE`.
fn status(words: &mut Words<'_>) -> Result<u32, String> {
    match words.take("status") {
        true => code(words.word("a status")?),
        false => Err("`status` is missing".into()),
    }
}

fn dial(words: &mut Words<'_>) -> Result<Dial, String> {
    let mut dial = Dial::default();
    let bytes = |value: &str| match crate::value::Value::parse(value)? {
        crate::value::Value::Sized(bytes) => u32::try_from(bytes).map_err(|_| format!("`{value}` is too much")),
        other => Err(format!("{other} is no size")),
    };
    while let Some(word) = words.next() {
        match pair(word) {
            ("window", Some(value)) => dial.window = bytes(value)?,
            ("connection-window", Some(value)) => dial.connection_window = bytes(value)?,
            ("max-frame", Some(value)) => dial.max_frame = bytes(value)?,
            ("ipv6", None) => dial.ipv6 = true,
            ("authority", Some(value)) => {
                let authority = text(value)?;
                if !(1..=crate::splice::LONGEST).contains(&authority.len()) {
                    return Err(format!("`{word}` is not between 1 and {} bytes long", crate::splice::LONGEST));
                }
                dial.authority = Some(authority);
            }
            _ => return Err(format!("a connection has no `{word}`")),
        }
    }
    Ok(dial)
}

fn call(words: &mut Words<'_>) -> Result<Call, String> {
    let mut call = Call::to(EXECUTE);
    while let Some(word) = words.next() {
        match pair(word) {
            ("authority", Some(authority)) => {
                call.authority = text(authority)?;
                let whole = format!("http://{}/", call.authority);
                whole.parse::<http::Uri>().map_err(|error| format!("`{word}`: {error}"))?;
            }
            ("deadline", Some(deadline)) => call.deadline = Some(time(deadline)?),
            ("encoding", Some(encoding)) => call.encoding = Some(encoding.into()),
            ("path", Some(path)) => call.path = text(path)?,
            _ => match metadata(word)? {
                Some(metadata) => call.metadata.push(metadata),
                None => return Err(format!("a stream is not opened with `{word}`")),
            },
        }
    }
    Ok(call)
}

/// `metadata.KEY="value"`, if that is what it is.
fn metadata(word: &str) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let (Some(key), Some(value)) = (pair(word).0.strip_prefix("metadata."), pair(word).1) else { return Ok(None) };
    let key = HeaderName::try_from(key).map_err(|error| error.to_string())?;
    let value = HeaderValue::try_from(text(value)?).map_err(|error| error.to_string())?;
    Ok(Some((key, value)))
}

fn start(words: &mut Words<'_>) -> Result<Act, String> {
    let mut start = Start::default();
    let mut refused = None;
    while let Some(word) = words.next() {
        match pair(word) {
            ("tcp", None) => start.tcp = true,
            ("stale-socket", None) => start.socket = Socket::Stale,
            ("socket-in-use", None) => start.socket = Socket::InUse,
            ("launcher", None) => start.launcher = true,
            ("full-log", None) => start.full_log = true,
            ("refused", None) => refused = Some(Vec::new()),
            ("says", Some(part)) => refused.as_mut().ok_or("`says` comes after `refused`")?.push(text(part)?),
            (key, Some(value)) if key.starts_with("env.") => {
                start.environment.push((key.trim_start_matches("env.").into(), text(value)?));
            }
            (quoted, None) if quoted.starts_with('"') => start.arguments.push(text(quoted)?),
            _ => return Err(format!("a worker is not started with `{word}`")),
        }
    }
    Ok(match refused {
        Some(says) => Act::Refused(start, says),
        None => Act::Start(start),
    })
}

fn manage(words: &mut Words<'_>) -> Result<Act, String> {
    let settled = |words: &mut Words<'_>| match words.next() {
        Some("settled=true") => Ok(Some(true)),
        Some("settled=false") => Ok(Some(false)),
        Some("settled=any") | None => Ok(None),
        Some(other) => Err(format!("`{other}` is no answer to a shutdown")),
    };
    let more = |words: &mut Words<'_>| {
        let mut all = Metadata::new();
        while let Some(next) = words.peek().map(metadata).transpose()?.flatten() {
            words.next();
            all.push(next);
        }
        Ok::<_, String>(all)
    };
    match words.word("heartbeat, shutdown, answered, empty or bytes")? {
        "heartbeat" => {
            let eventually = words.take("eventually");
            let metadata = more(words)?;
            let mut checks = Vec::new();
            while let Some(word) = words.peek() {
                if word == "within" {
                    break;
                }
                words.next();
                checks.extend(MetricCheck::parse(word)?);
            }
            Ok(Act::Heartbeat { metadata, checks, within: within(words)?, eventually })
        }
        "shutdown" => {
            let (cancel, background) = (words.take("cancel"), words.take("begins"));
            Ok(Act::Shutdown { cancel, background, metadata: more(words)?, settled: settled(words)? })
        }
        "answered" => Ok(Act::Answered { settled: settled(words)? }),
        "empty" => Ok(Act::ManageRaw { metadata: more(words)?, body: bytes::Bytes::new(), code: status(words)? }),
        "bytes" => {
            let body = words.value("bytes")?.bytes();
            Ok(Act::ManageRaw { metadata: more(words)?, body, code: status(words)? })
        }
        other => Err(format!("Manage has no `{other}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read() {
        let script = Script::parse(
            r#"
            # a comment
            start tcp "--unknown" "value" env.A="b"
            connect window=64Ki
            > init chunked crc=none {split=1 unknown}   # another
            > chunk 1/1 last
            < init-response data=none
            parallel 3 {
                a: open deadline=1s authority="x:1"
                a> init slow(20)
                a< init-response within 1s
                repeat 2 {
                    a> data 1Ki
                }
                a< data* ; nothing 20ms
            }
            < waits: nothing 200ms | hurries: cancel-response error=any ; end
            manage heartbeat metadata.a="b" metadata.c="d" sessions_active=1 within 100ms
            exits 0 within 5s
            "#,
        );
        let script = script.expect("it is fine");
        assert_eq!(script.steps.len(), 9);
        assert!(script.starts);
        assert_eq!(script.roles.iter().collect::<Vec<_>>(), ["echo", "slow"]);
        let needs: Vec<_> = script.needs.iter().map(|need| need.name()).collect();
        assert_eq!(needs, ["chunking", "concurrent", "metrics", "tcp"]);
        let Act::Repeat { steps, count: 3, parallel: true } = &script.steps[5].act else { panic!("{script:?}") };
        assert_eq!(steps.len(), 5);
        let Act::Heartbeat { metadata, checks, .. } = &script.steps[7].act else { panic!("{script:?}") };
        assert_eq!((metadata.len(), checks.len()), (2, 1));
        assert!(!script.ipv6 && Script::parse("connect ipv6").is_ok_and(|script| script.ipv6));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (script, says) in [
            ("> init\n> chnk 1/1", "line 2, `> chnk 1/1`: an engine has no message `chnk`"),
            ("< init-response ok", "what is `ok`"),
            ("< end OKAY", "gRPC has no status `OKAY`"),
            ("repeat 2 {\n> data 1", "line 1, `repeat 2 {`: the block is not closed"),
            ("}", "no block is open"),
            ("dance", "no step begins with `dance`"),
            ("exits 0", "`within` is missing"),
            ("> finish now", "what is `now`?"),
            ("manage shutdown settled=maybe", "no answer to a shutdown"),
            ("< gone ; end", "nothing comes after `gone`"),
            ("< cut ; end | data", "nothing comes after `cut`"),
            ("manage empty metadata.\u{1}=\"x\" status OK", "invalid HTTP header name"),
        ] {
            let error = Script::parse(script).expect_err(script);
            assert!(error.contains(says), "{script}: {error}");
        }
    }
}
