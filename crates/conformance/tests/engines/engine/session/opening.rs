//! Init, and the payload behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyudf_protocol::wire::{self, udf_control_request};
use bytes::Bytes;

use super::{Execution, Stage};
use crate::engine::stream::{Input, Kind as Sent, Output};
use crate::mutant::Mutation as M;

/// The longest piece of a payload that goes in one message (E4).
const CHUNK: usize = 1 << 20;

impl Execution {
    pub(super) fn open(&mut self) {
        self.stage = Stage::Opening;
        if self.output.is_some() {
            self.stage = Stage::Initializing;
            return self.say_init();
        }
        let connection = Arc::clone(&self.connection);
        self.opening = Some(Box::pin(async move { connection.execute().await }));
    }

    pub(super) fn opened(&mut self, opened: Result<(Input, Output), String>) {
        let (input, output) = match opened {
            Ok(opened) => opened,
            Err(why) => return self.transport_failed(&why),
        };
        (self.input, self.output) = (Some(input), Some(output));
        if self.stage != Stage::Opening {
            return;
        }
        self.stage = Stage::Initializing;
        self.say_init();
        if self.cancelled {
            self.say_cancel("cancelled while the stream was opened");
        }
    }

    /// Init, and the payload in chunks where it is long (E4, R3).
    pub(super) fn say_init(&mut self) {
        if self.output.is_none() {
            return;
        }
        let payload = self.config.payload.clone();
        let most = if self.is(M::OneMebibyteIsTooMuch) { CHUNK - 1 } else { CHUNK };
        let chunked = (payload.len() > most && !self.is(M::PayloadIsNeverCut)) || self.is(M::ChunksAreAlwaysAnnounced);
        let piece = if self.is(M::LargerChunks) { 3 << 20 } else { CHUNK };
        let mut pieces: Vec<_> = payload.chunks(piece).map(|piece| payload.slice_ref(piece)).collect();
        if self.is(M::ChunksComeInReverse) {
            pieces.reverse();
        }
        if self.is(M::LastByteIsLost) && chunked {
            let last = pieces.pop().unwrap_or_default();
            pieces.push(last.slice(..last.len().saturating_sub(1)));
        }
        if self.is(M::EmptyChunkGoesFirst) {
            pieces.insert(0, Bytes::new());
        }
        let pieces = if chunked && !self.is(M::ChunksAreAlwaysAnnounced) { pieces } else { Vec::new() };
        let inline = match () {
            () if pieces.is_empty() => payload.clone(),
            () if self.is(M::PayloadIsSentTwice) => payload.slice(..16),
            () => Bytes::new(),
        };
        let init = self.init_of(&payload, inline, &pieces, chunked);
        self.say(udf_control_request::Control::Init(init), Sent::First);
        let last = pieces.len().saturating_sub(1);
        for (at, data) in pieces.into_iter().enumerate() {
            let ends = at == last && !self.is(M::LastChunkIsNotMarked);
            self.chunk(data, ends || (at == 0 && self.is(M::FirstChunkIsMarkedLast)));
            if at == 0 && self.is(M::ChunkGoesBeforeInit) {
                self.swap();
            }
            if at == 0 && self.is(M::DataGoesAmongChunks) {
                self.data(Bytes::from_static(b"early"));
            }
        }
        if chunked && self.is(M::ChunkBehindTheLast) {
            self.chunk(Bytes::new(), true);
        }
        if self.is(M::FinishGoesBeforeInitResponse) {
            self.say_finish();
        }
    }

    fn chunk(&mut self, data: Bytes, last: bool) {
        let last = last.then_some(true);
        self.say(udf_control_request::Control::Payload(wire::PayloadChunk { data, last }), Sent::Bulk);
    }

    fn init_of(&self, payload: &[u8], inline: Bytes, pieces: &[Bytes], chunked: bool) -> wire::Init {
        let is = |mutation| self.is(mutation);
        let everything = self.config.everything;
        let text = |text: &str, lost: M| (everything && !is(lost)).then(|| text.to_owned());
        let map = |key: &str, value: &str| match everything {
            true => BTreeMap::from([(key.to_owned(), value.to_owned())]),
            false => BTreeMap::new(),
        };
        let claimed = if is(M::LengthIsThatOfTheInlinePart) { inline.len() } else { payload.len() };
        let crc = match () {
            () if is(M::ChecksumOfTheFirstPiece) => crc32fast::hash(pieces.first().map_or(payload, |first| first)),
            () if is(M::ChecksumIsCastagnolis) => castagnoli(payload),
            () => crc32fast::hash(payload),
        };
        let format = match () {
            () if is(M::FormatIsLost) => String::new(),
            () if is(M::FormatIsInCapitals) => "ECHO".into(),
            () => "echo".into(),
        };
        let udf = wire::UdfPayload {
            payload: inline,
            format,
            payload_size: (!is(M::LengthIsNotSet)).then_some(claimed as i64),
            payload_crc32: (!is(M::ChecksumIsNotSet)).then_some(crc),
            name: text("f", M::NameIsLost),
            eval_type: text(if is(M::EvalTypeIsInCapitals) { "SCALAR" } else { "scalar" }, M::EvalTypeIsLost),
        };
        let (conf, context) = (map("a", "b"), map("c", "d"));
        let (conf, context) = if is(M::MapsAreMixedUp) { (context, conf) } else { (conf, context) };
        let version = match () {
            () if is(M::VersionIsTwo) => Some(2),
            () if is(M::VersionIsZero) => Some(0),
            () => Some(1),
        };
        wire::Init {
            protocol_version: version,
            data_format: i32::from(!is(M::DataFormatIsNotSet)),
            udf: (!is(M::UdfIsMissing)).then_some(udf),
            is_chunking_payload: (chunked && !is(M::ChunksAreNotAnnounced)).then_some(true),
            input_schema: everything.then(|| Bytes::from_static(b"in")),
            output_schema: (everything && !is(M::OutputSchemaIsLost)).then(|| Bytes::from_static(b"out")),
            task_context: context,
            session_conf: if is(M::SessionConfIsLost) { BTreeMap::new() } else { conf },
            timezone: text(if is(M::TimezoneIsOfTheMachine) { "UTC" } else { "Europe/Berlin" }, M::TimezoneIsLost),
            parameters: (everything && !is(M::ParametersAreLost)).then(|| Bytes::from_static(b"p")),
        }
    }
}

/// CRC-32C, as iSCSI has it.
fn castagnoli(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}
