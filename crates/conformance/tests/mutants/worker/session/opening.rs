//! From Init to InitResponse: what Init holds, the payload, a place.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyudf_protocol::wire;
use anyudf_protocol::wire::udf_control_response::Control;
use tokio::sync::OwnedSemaphorePermit;

use super::{Session, Stage};
use crate::mutant::Mutation as M;
use crate::worker::function::{Function, protocol};

/// A limit under this leaves no room for what must be said (P7).
const SMALLEST_LIMIT: usize = 4096;

impl Session {
    pub(super) fn init(&mut self, init: wire::Init) {
        if self.stage != Stage::Start {
            let replaces = self.stage == Stage::Payload && self.is(M::SecondInitReplacesTheFirst);
            match self.is(M::SecondInitIsIgnored) {
                true => return,
                false if replaces => self.payload.clear(),
                false => return self.violate("a second Init (R1)"),
            }
        }
        let wrong = self.wrong_contents(&init);
        if self.is(M::ClaimedLengthIsAllocated) {
            let size = init.udf.as_ref().and_then(|udf| udf.payload_size).unwrap_or(0);
            // All of it is touched, so that it counts.
            self.payload = vec![1; size.clamp(0, 256 << 20) as usize];
            self.payload.clear();
        }
        let chunked =
            init.is_chunking_payload() || (init.is_chunking_payload.is_some() && self.is(M::FalseAnnouncesChunks));
        if let Some(udf) = init.udf.as_ref().filter(|_| !(chunked && self.is(M::InlinePartIsForgotten))) {
            self.payload.extend_from_slice(&udf.payload);
        }
        self.init = init;
        if let Some(why) = wrong {
            return self.fail(protocol(&why));
        }
        if !chunked {
            return self.whole();
        }
        self.stage = Stage::Payload;
        if self.is(M::InitResponseBeforeThePayload) {
            self.good();
        }
    }

    /// What is wrong with Init itself, the version before anything else (R15, R17, R18).
    fn wrong_contents(&mut self, init: &wire::Init) -> Option<String> {
        let mut wrong = None;
        let version = match init.protocol_version {
            None if self.is(M::UnsetVersionIsRefused) => 0,
            Some(0) if self.is(M::VersionZeroIsTaken) => 1,
            version => version.unwrap_or(1),
        };
        if version != 1 && !self.is(M::AnyVersionIsTaken) {
            let supported = if self.is(M::SupportedVersionsAreNotNamed) { "" } else { "; supported: 1" };
            // The number itself could pass for the one that is supported.
            wrong = Some(format!("the version of the protocol is not supported{supported}"));
        }
        if wrong.is_some() && !self.is(M::VersionIsLookedAtLast) {
            return wrong;
        }
        match init.data_format {
            1 => {}
            0 if self.is(M::UnspecifiedDataFormatIsTaken) => {}
            other if other != 0 && self.is(M::UnknownDataFormatIsTaken) => {}
            other => return Some(format!("no data format has the number {other}")),
        }
        match &init.udf {
            None if self.is(M::InitWithoutUdfIsTaken) => {}
            None => return Some("Init.udf is missing".into()),
            Some(udf) if udf.format.is_empty() && !self.is(M::EmptyFormatIsEcho) => {
                return Some("UdfPayload.format is empty".into());
            }
            Some(_) => {}
        }
        let known = |key: &String| key.starts_with("anyudf.");
        if self.is(M::UnknownConfIsRefused) && !init.session_conf.keys().all(known) {
            return Some("a key of session_conf is unknown".into());
        }
        if self.is(M::UnknownContextIsRefused) && !init.task_context.is_empty() {
            return Some("a key of task_context is unknown".into());
        }
        if let Some(limit) = init.session_conf.get("anyudf.call_timeout_ms").map(|limit| limit.parse()) {
            let limit = limit.ok().filter(|&limit| limit <= u32::MAX.into() || !self.is(M::LimitHas32Bits));
            let Some(limit) = limit else { return Some("INVALID_SESSION_CONF: anyudf.call_timeout_ms (C11)".into()) };
            self.call_limit = Some(Duration::from_millis(limit)).filter(|_| !self.is(M::LimitOfCallsIsIgnored));
        }
        let Some(limit) = init.session_conf.get("anyudf.max_message_bytes") else { return wrong };
        match limit.parse() {
            Ok(limit) if limit >= SMALLEST_LIMIT || self.is(M::SmallLimitIsTaken) => {
                self.peer_limit = if self.is(M::LimitOfThePeerIsForgotten) { usize::MAX } else { limit };
                wrong
            }
            _ => Some(format!("INVALID_SESSION_CONF: anyudf.max_message_bytes is at least {SMALLEST_LIMIT} (P7)")),
        }
    }

    pub(super) fn chunk(&mut self, chunk: wire::PayloadChunk) {
        let taken = match self.stage {
            Stage::Start => self.is(M::WhatComesBeforeInitIsIgnored),
            Stage::Payload => {
                if chunk.data.is_empty() && (!chunk.last() || self.is(M::EmptyLastChunkIsRefused)) {
                    return self.violate("an empty chunk (C5)");
                }
                match self.is(M::ChunksComeInReverse) {
                    true => self.payload.splice(0..0, chunk.data.iter().copied()).for_each(drop),
                    false => self.payload.extend_from_slice(&chunk.data),
                }
                if chunk.last() {
                    self.whole();
                }
                true
            }
            _ if self.init.is_chunking_payload() => self.is(M::ChunkBehindTheLastIsTaken),
            _ => self.is(M::UnannouncedChunkIsTaken),
        };
        if !taken {
            self.violate("a chunk that was not announced (R2)");
        }
    }

    /// The payload is whole.
    fn whole(&mut self) {
        let udf = self.init.udf.clone().unwrap_or_default();
        let unchecked =
            self.is(M::LengthIsNotChecked) || (self.is(M::LengthIsOneOfChunks) && !self.init.is_chunking_payload());
        let size = udf.payload_size.filter(|_| !unchecked);
        let checksum = udf.payload_crc32.filter(|_| !self.is(M::ChecksumIsNotChecked));
        let checksum = checksum.filter(|checksum| *checksum != 0 || !self.is(M::ChecksumZeroIsNone));
        if size.is_some_and(|size| size != self.payload.len() as i64) {
            return self.fail(protocol(&format!("the payload has {} bytes (R3)", self.payload.len())));
        }
        if checksum.is_some_and(|checksum| checksum != crc32fast::hash(&self.payload)) {
            return self.fail(protocol("the payload has another checksum (R3)"));
        }
        self.wait_for_a_place();
    }

    /// Asks for a place, in the order of arrival (P10).
    fn wait_for_a_place(&mut self) {
        let places = Arc::clone(&self.shared.places);
        self.stage = Stage::Waiting;
        if self.is(M::NoPlaceIsARefusal) && places.available_permits() == 0 {
            return self.refuse(8, "too many sessions");
        }
        if !self.is(M::LatestComesFirst) {
            self.waiting = Some(Box::pin(async move { places.acquire_owned().await.expect("it is never closed") }));
            return;
        }
        let number = self.shared.counts.latest.fetch_add(1, Relaxed) + 1;
        let shared = Arc::clone(&self.shared);
        self.waiting = Some(Box::pin(async move {
            loop {
                let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
                if shared.counts.latest.load(Relaxed) == number {
                    shared.counts.latest.fetch_sub(1, Relaxed);
                    return place;
                }
                // It is for one that came later, and waits as well.
                drop(place);
                tokio::task::yield_now().await;
            }
        }));
    }

    pub(super) fn open(&mut self, place: OwnedSemaphorePermit) {
        (self.waiting, self.place) = (None, Some(place));
        let udf = self.init.udf.clone().unwrap_or_default();
        let format = match &udf.format[..] {
            "" => "echo",
            format => format,
        };
        let format = udf.name.as_deref().filter(|_| self.is(M::NameIsTheFormat)).unwrap_or(format);
        match Function::open(format, &self.payload, self.shared.mutant) {
            Ok(function) => {
                (self.function, self.stage) = (Some(function), Stage::Open);
                if self.is(M::WaitingForInputCounts) {
                    self.limit_begins();
                }
                let waits = self.is(M::InitResponseWaitsForData) && self.queue.is_empty() && !self.finished;
                if !self.opened && !waits {
                    self.good();
                }
                if self.is(M::InitResponseTwice) {
                    self.good();
                }
            }
            Err(error) => self.fail(error),
        }
    }

    /// InitResponse, where a mutation has kept it.
    pub(super) fn open_late(&mut self) {
        if self.stage == Stage::Open && !self.opened {
            self.good();
        }
    }

    fn good(&mut self) {
        self.opened = true;
        self.control(Control::Init(wire::InitResponse { data: None, error: None }));
    }
}
