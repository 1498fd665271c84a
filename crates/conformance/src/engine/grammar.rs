//! What an engine may say at all: the left column of the grammar, whatever a case expects.

use anyudf_protocol::wire;
use bytes::BytesMut;

use super::request::Heard;

/// To a worker that announces nothing, every message stays under this (E4): gRPC's usual limit.
const UNANNOUNCED: usize = 4 << 20;

/// How far one stream has come, by what the engine has said on it.
#[derive(Debug, Default)]
pub(crate) struct Said {
    stage: Stage,
    payload: Option<Payload>,
    cancelled: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Nothing,
    /// Chunks are under way.
    Chunks,
    Open,
    Finished,
    Ended,
}

/// What Init claims of the payload (R3), and what has come of it.
#[derive(Debug)]
struct Payload {
    size: Option<i64>,
    crc: Option<u32>,
    bytes: BytesMut,
}

/// What the worker has said that the engine must know of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answered {
    pub(crate) init: bool,
    pub(crate) terminator: bool,
    /// The worker's side of the stream is over.
    pub(crate) end: bool,
    /// It leaves the engine no other way than to end its half without a terminator (E3, E6, E7).
    pub(crate) given_up: bool,
    /// Data may go before InitResponse (C1).
    pub(crate) pipelining: bool,
    /// The largest message that it takes, if it announced that (M6).
    pub(crate) largest: Option<usize>,
}

impl Payload {
    fn check(&self) -> Result<(), String> {
        let len = self.bytes.len() as i64;
        if self.size.is_some_and(|size| size != len) {
            return Err(format!("payload_size is {:?}, and the payload has {len} bytes (R3)", self.size));
        }
        let crc = crc32fast::hash(&self.bytes);
        if self.crc.is_some_and(|claimed| claimed != crc) {
            return Err(format!("payload_crc32 is {:?}, and that of the payload is {crc} (R3)", self.crc));
        }
        Ok(())
    }
}

impl Said {
    /// Takes note of what was said in a message of so many bytes; an error names the rule that it breaks.
    pub(crate) fn say(&mut self, heard: &Heard, bytes: usize, answered: Answered) -> Result<(), String> {
        let broken = |rule: &str| Err(rule.to_owned());
        match answered.largest {
            Some(largest) if bytes > largest => {
                return Err(format!("the message has {bytes} bytes; the worker announces {largest} (M6)"));
            }
            None if bytes >= UNANNOUNCED => {
                return Err(format!(
                    "the message has {bytes} bytes; where no larger one is announced it stays under 4 MiB (E4)"
                ));
            }
            _ => {}
        }
        match (self.stage, heard) {
            (Stage::Ended, _) => return broken("nothing can come after the end of a stream"),
            (_, Heard::Wrong(_)) => return broken("it is no message of the protocol (R16)"),
            (_, Heard::Cut(_)) => self.stage = Stage::Ended,
            (_, Heard::HalfClose) if !answered.terminator && !answered.end && !answered.given_up => {
                return broken("the engine half-closes when it has seen the terminator (R13)");
            }
            (_, Heard::HalfClose) => self.stage = Stage::Ended,
            _ if self.cancelled => return broken("nothing follows Cancel (R9)"),
            (_, Heard::Cancel(_)) => self.cancelled = true,
            (Stage::Nothing, Heard::Init(init)) => self.init(init)?,
            (Stage::Nothing, _) => return broken("Init comes first (R1)"),
            (_, Heard::Init(_)) => return broken("Init comes once (R1)"),
            (Stage::Chunks, Heard::Chunk(chunk)) => self.chunk(chunk)?,
            (_, Heard::Chunk(_)) => {
                return broken("a chunk comes only after an Init that announces it, up to the last (R2)");
            }
            (Stage::Chunks, _) => return broken("before the last chunk there is no data and no Finish (R2, R5)"),
            (Stage::Open, _) if !answered.init && !answered.pipelining => {
                return broken("data and Finish wait for InitResponse (R5)");
            }
            (Stage::Open, Heard::Data(_)) => {}
            (Stage::Open, Heard::Finish) => self.stage = Stage::Finished,
            (Stage::Finished, _) => return broken("after Finish comes nothing but Cancel (the grammar)"),
        }
        Ok(())
    }

    fn init(&mut self, init: &wire::Init) -> Result<(), String> {
        let Some(udf) = &init.udf else { return Err("Init.udf is required (R18)".into()) };
        if udf.format.is_empty() {
            return Err("UdfPayload.format is required (R18)".into());
        }
        if init.data_format == 0 {
            return Err("Init.data_format must be one that the worker declared (R15)".into());
        }
        if init.protocol_version.is_some_and(|version| version != 1) {
            return Err("the worker has declared version 1 alone (R17)".into());
        }
        let payload =
            Payload { size: udf.payload_size, crc: udf.payload_crc32, bytes: BytesMut::from(&udf.payload[..]) };
        self.stage = match init.is_chunking_payload() {
            true => Stage::Chunks,
            false => {
                payload.check()?;
                Stage::Open
            }
        };
        self.payload = Some(payload);
        Ok(())
    }

    fn chunk(&mut self, chunk: &wire::PayloadChunk) -> Result<(), String> {
        if chunk.data.is_empty() && !chunk.last() {
            return Err("an empty chunk is a violation, unless it is the last (C5)".into());
        }
        let payload = self.payload.as_mut().expect("chunks come behind an Init");
        payload.bytes.extend_from_slice(&chunk.data);
        if chunk.last() {
            payload.check()?;
            self.stage = Stage::Open;
        }
        Ok(())
    }

    /// The payload, when it is whole.
    pub(crate) fn payload(&self) -> Option<&[u8]> {
        match self.stage {
            Stage::Open | Stage::Finished | Stage::Ended => self.payload.as_ref().map(|payload| &payload.bytes[..]),
            Stage::Nothing | Stage::Chunks => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(chunked: bool, payload: &'static str) -> Heard {
        let udf = wire::UdfPayload {
            payload: if chunked { "".into() } else { payload.into() },
            format: "echo".into(),
            payload_size: Some(payload.len() as i64),
            payload_crc32: Some(crc32fast::hash(payload.as_bytes())),
            ..Default::default()
        };
        let init = wire::Init {
            protocol_version: Some(1),
            data_format: 1,
            udf: Some(udf),
            is_chunking_payload: chunked.then_some(true),
            ..Default::default()
        };
        Heard::Init(Box::new(init))
    }

    fn chunk(data: &'static str, last: bool) -> Heard {
        Heard::Chunk(wire::PayloadChunk { data: data.into(), last: last.then_some(true) })
    }

    /// Dialogues, and whether an engine may lead them.
    #[test]
    fn the_left_column_of_the_grammar() {
        let data = || Heard::Data("x".into());
        let cancel = || Heard::Cancel(None);
        let open = Answered { init: true, ..Answered::default() };
        let over = Answered { init: true, terminator: true, ..Answered::default() };
        let silent = Answered::default();
        let early = Answered { pipelining: true, ..Answered::default() };
        let hopeless = Answered { given_up: true, ..Answered::default() };
        for (said, may, what) in [
            (
                vec![(init(false, "p"), silent), (data(), open), (Heard::Finish, open), (Heard::HalfClose, over)],
                true,
                "all",
            ),
            (vec![(cancel(), silent)], true, "cancelled at once"),
            (vec![(init(true, "ab"), silent), (chunk("a", false), silent), (chunk("b", true), silent)], true, "chunks"),
            (vec![(init(false, "p"), silent), (data(), early)], true, "pipelined"),
            (vec![(init(false, "p"), silent), (Heard::Finish, open), (cancel(), open)], true, "R11"),
            (vec![(data(), open)], false, "R1"),
            (vec![(init(false, "p"), silent), (init(false, "p"), silent)], false, "R1 again"),
            (vec![(init(false, "p"), silent), (chunk("a", true), silent)], false, "R2"),
            (vec![(init(true, "ab"), silent), (chunk("a", true), silent)], false, "R3"),
            (vec![(init(true, "ab"), silent), (chunk("", false), silent)], false, "C5"),
            (vec![(init(true, "ab"), silent), (data(), early)], false, "data among chunks"),
            (vec![(init(false, "p"), silent), (data(), silent)], false, "R5"),
            (vec![(init(false, "p"), silent), (cancel(), open), (cancel(), open)], false, "R9"),
            (vec![(init(false, "p"), silent), (cancel(), open), (data(), open)], false, "R9 data"),
            (vec![(init(false, "p"), silent), (Heard::Finish, open), (data(), open)], false, "behind Finish"),
            (vec![(init(false, "p"), silent), (Heard::HalfClose, open)], false, "R13"),
            (vec![(init(false, "p"), silent), (cancel(), open), (Heard::HalfClose, open)], false, "R13, behind Cancel"),
            (vec![(init(false, "p"), silent), (cancel(), hopeless), (Heard::HalfClose, hopeless)], true, "given up"),
        ] {
            let mut state = Said::default();
            let judged = said.iter().try_for_each(|(heard, answered)| state.say(heard, 10, *answered));
            assert_eq!(judged.is_ok(), may, "{what}: {judged:?}");
        }
        let announced = Answered { largest: Some(5 << 20), ..open };
        for (bytes, answered, may) in [
            ((4 << 20) - 1, open, true),
            (4 << 20, open, false),
            (5 << 20, announced, true),
            ((5 << 20) + 1, announced, false),
        ] {
            let mut state = Said { stage: Stage::Open, ..Said::default() };
            assert_eq!(state.say(&data(), bytes, answered).is_ok(), may, "E4: {bytes} bytes");
        }
    }
}
