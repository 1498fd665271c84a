//! What messages carry: payloads, Init, errors, metrics, and the ways to get them wrong.

use anyudf_protocol::{
    Blame, Counter, ExecutionError, ManageRequest, Metrics, PayloadAssembly, PayloadError, Request, Response,
    check_init, wire,
};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

fn udf(payload: &[u8]) -> wire::UdfPayload {
    wire::UdfPayload { payload: Bytes::copy_from_slice(payload), format: "echo".into(), ..Default::default() }
}

fn assemble(udf: &wire::UdfPayload, chunks: &[&[u8]], limit: usize) -> Result<Bytes, PayloadError> {
    let mut assembly = PayloadAssembly::new(udf, limit)?;
    for chunk in chunks {
        assembly.push(Bytes::copy_from_slice(chunk))?;
    }
    Ok(assembly.verify()?.into_bytes())
}

/// R3: the payload is what came inline, then every chunk in order.
#[test]
fn r3_chunks_are_joined_in_order() {
    assert_eq!(assemble(&udf(b"a"), &[b"b", b"", b"cd"], 10), Ok("abcd".into()));
    assert_eq!(assemble(&udf(b""), &[], 10), Ok("".into()));
}

/// R3: payload_size and payload_crc32 must match when they are set, also for an inline payload.
#[test]
fn r3_size_and_checksum_are_checked() {
    let sized = |size| wire::UdfPayload { payload_size: Some(size), ..udf(b"ab") };
    assert_eq!(assemble(&sized(3), &[b"c"], 10), Ok("abc".into()));
    assert_eq!(assemble(&sized(4), &[b"c"], 10), Err(PayloadError::Size { declared: 4, actual: 3 }));
    assert_eq!(assemble(&sized(2), &[], 10), Ok("ab".into()));
    assert_eq!(assemble(&sized(-1), &[], 10), Err(PayloadError::Size { declared: -1, actual: 2 }));
    // More than declared is refused when it comes, not at the end.
    let mut assembly = PayloadAssembly::new(&sized(2), 10).expect("so far it fits");
    assert_eq!(assembly.push("c".into()), Err(PayloadError::Size { declared: 2, actual: 3 }));

    let summed = |crc| wire::UdfPayload { payload_crc32: Some(crc), ..udf(b"1234") };
    assert_eq!(assemble(&summed(0xcbf4_3926), &[b"56789"], 10), Ok("123456789".into()), "the check value of CRC-32");
    let error = assemble(&summed(1), &[b"56789"], 10).expect_err("another checksum");
    assert_eq!(error, PayloadError::Checksum { declared: 1, actual: 0xcbf4_3926 });
    assert_eq!(ExecutionError::from(error).condition(), Some("PAYLOAD_CHECKSUM_MISMATCH"));
}

/// R3: a limit holds, and a claim over it is refused before anything arrives; nothing is allocated on a claim.
#[test]
fn r3_a_limit_holds_for_claims_and_for_bytes() {
    let claim = wire::UdfPayload { payload_size: Some(i64::MAX), ..udf(b"") };
    let refused = PayloadAssembly::new(&claim, 10).expect_err("over the limit");
    assert_eq!(refused, PayloadError::TooLarge { size: i64::MAX as u64, limit: 10 });
    assert_eq!(assemble(&udf(b"12345"), &[b"678901"], 10), Err(PayloadError::TooLarge { size: 11, limit: 10 }));
    // A claim within the limit costs nothing: this would not fit the machine.
    PayloadAssembly::new(&claim, usize::MAX).expect("a claim is not an allocation");
}

proptest! {
    /// R3: however a payload is cut, it comes out whole, and one changed byte is noticed.
    #[test]
    fn r3_any_cut_comes_out_whole(payload in prop::collection::vec(any::<u8>(), 1..200), cuts in prop::collection::vec(0usize..200, 0..5)) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(payload.len())).collect();
        cuts.sort_unstable();
        let declared = wire::UdfPayload {
            payload_size: Some(payload.len() as i64),
            payload_crc32: Some(crc32fast::hash(&payload)),
            ..udf(&[])
        };
        let bounds: Vec<_> = std::iter::once(0).chain(cuts).chain([payload.len()]).collect();
        let pieces: Vec<&[u8]> = bounds.windows(2).map(|pair| &payload[pair[0]..pair[1]]).collect();
        prop_assert_eq!(assemble(&declared, &pieces, 1 << 20).expect("it is whole"), &payload[..]);
        let mut other = payload.clone();
        other[0] ^= 1;
        let noticed = matches!(assemble(&declared, &[&other], 1 << 20), Err(PayloadError::Checksum { .. }));
        prop_assert!(noticed);
    }

    /// R14: no bytes from a peer make parsing panic.
    #[test]
    fn r14_parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = anyudf_protocol::envelope::split_data(&bytes);
        let _ = wire::UdfRequest::decode(bytes.clone()).map(Request::try_from);
        let _ = wire::UdfResponse::decode(bytes.clone()).map(Response::try_from);
        let _ = Metrics::decode(&[bytes]);
    }
}

fn init() -> wire::Init {
    wire::Init { data_format: wire::UdfWorkerDataFormat::Arrow.into(), udf: Some(udf(b"")), ..Default::default() }
}

fn refusal(init: &wire::Init) -> String {
    let error = check_init(init, &[wire::UdfWorkerDataFormat::Arrow]).expect_err("it is wrong");
    assert_eq!(error.blame, Blame::Protocol);
    error.message
}

/// R17: the version is looked at first; unset means 1; an unsupported one names what is supported.
#[test]
fn r17_the_version_comes_first() {
    for version in [None, Some(1)] {
        let init = wire::Init { protocol_version: version, ..init() };
        check_init(&init, &[wire::UdfWorkerDataFormat::Arrow]).expect("version 1");
    }
    let wrong_in_every_way = wire::Init { protocol_version: Some(7), ..Default::default() };
    let text = "[UNSUPPORTED_PROTOCOL_VERSION] protocol_version 7 is not supported, supported: 1 (R17)";
    assert_eq!(refusal(&wrong_in_every_way), text);
}

/// R15: data_format is one that was declared; unspecified and unknown numbers are not.
#[test]
fn r15_the_data_format_was_declared() {
    for (number, asked) in [(0, "UDF_WORKER_DATA_FORMAT_UNSPECIFIED"), (9, "9")] {
        let text = refusal(&wire::Init { data_format: number, ..init() });
        let said =
            format!("[UNSUPPORTED_DATA_FORMAT] data_format {asked} is not one that this worker declared: ARROW (R15)");
        assert_eq!(text, said);
    }
}

/// R18: a function is named, with a format.
#[test]
fn r18_the_udf_and_its_format_are_required() {
    let missing = wire::Init { udf: None, ..init() };
    assert_eq!(refusal(&missing), "[MISSING_FIELD] Init.udf is required and missing (R18)");
    let nameless = wire::Init { udf: Some(wire::UdfPayload::default()), ..init() };
    assert_eq!(refusal(&nameless), "[MISSING_FIELD] Init.udf.format is required and empty (R18)");
}

/// R16: an empty oneof and an unknown branch are violations, at every level.
#[test]
fn r16_empty_and_unknown_messages_are_violations() {
    let requests: [&[u8]; 3] = [b"", b"\x0a\x00", b"\x0a\x02\x7a\x00"];
    for bytes in requests {
        let request = wire::UdfRequest::decode(bytes).expect("it is protobuf");
        let violation = Request::try_from(request).expect_err("nothing in it");
        assert_eq!(violation.rule().name(), "R16", "{bytes:?}");
        let response = wire::UdfResponse::decode(bytes).expect("it is protobuf");
        let violation = Response::try_from(response).expect_err("nothing in it");
        assert_eq!(violation.rule().name(), "R16", "{bytes:?}");
    }
    // M1: the same for Manage.
    assert_eq!(ManageRequest::try_from(wire::WorkerRequest::default()).expect_err("empty").rule().name(), "M1");
}

/// R20: unknown fields are ignored, wherever they stand.
#[test]
fn r20_unknown_fields_are_ignored() {
    let mut bytes = wire::UdfRequest::from(Request::Init(Box::new(init()))).encode_to_vec();
    bytes.extend_from_slice(&[0xa2, 0x06, 0x03, b'n', b'e', b'w']); // field 100, length-delimited
    let request = wire::UdfRequest::decode(&*bytes).expect("unknown fields are no error");
    assert_eq!(Request::try_from(request), Ok(Request::Init(Box::new(init()))));
}

/// R14: an error has exactly one kind; one without is shown as the worker's.
#[test]
fn r14_an_error_without_kind_is_the_workers() {
    let error = ExecutionError::from(wire::ExecutionError::default());
    assert_eq!((error.blame, &*error.message), (Blame::Worker, "error without kind"));
    for error in [
        ExecutionError::user("no").with_class("BAD_ROW").with_traceback("line 1"),
        ExecutionError::worker("OUT_OF_MEMORY", "no room"),
        ExecutionError::protocol("PAYLOAD_TOO_LARGE", "too much"),
    ] {
        assert_eq!(ExecutionError::from(wire::ExecutionError::from(error.clone())), error);
    }
}

/// C12: every error of ours has a condition name, whatever its kind; a stranger's text has none.
#[test]
fn c12_errors_have_condition_names() {
    assert_eq!(ExecutionError::user("no").with_class("BAD_ROW").condition(), Some("BAD_ROW"));
    assert_eq!(ExecutionError::worker("SHUTTING_DOWN", "later").condition(), Some("SHUTTING_DOWN"));
    for stranger in ["plain", "[1, 2] is no list", "[]", "[lower] x"] {
        assert_eq!(ExecutionError::user(stranger).condition(), None, "{stranger}");
    }
}

/// C8: metrics are read in both shapes, keep names nobody knows, and are never an error.
#[test]
fn c8_metrics_are_read_in_both_shapes() {
    // The shape of 4.3.0: a map of strings.
    let map = Metrics::default().with(Counter::RowsIn, 5).with_other("status", "ok").with_other("rows_out", "many");
    let wire = wire::FinishResponse { metrics: map.encode(), ..Default::default() }.encode_to_vec();
    let again = wire::FinishResponse::decode(&*wire).expect("our own bytes");
    assert_eq!(Metrics::decode(&again.metrics), map);
    assert_eq!(map.get("rows_out").as_deref(), Some("many"), "not a number, so it is kept as it is");

    // The later shape: a message of counters. rows_in = 300, work_cpu_nanos = 0, and a field 99 that is new.
    let later = b"\x0a\x0a\x18\xac\x02\x60\x00\x9a\x06\x02hi";
    let response = wire::CancelResponse::decode(&later[..]).expect("it is protobuf");
    let metrics = Metrics::decode(&response.metrics);
    assert_eq!(metrics.counter(Counter::RowsIn), Some(300));
    assert_eq!(metrics.counter(Counter::WorkCpuNanos), Some(0), "zero means measured zero");
    assert_eq!(metrics.counter(Counter::RowsOut), None, "absent means unknown");

    // Neither.
    assert!(Metrics::decode(&[Bytes::from_static(b"\xff\xff\xff")]).is_empty());
}

/// C8: sent is always the map of 4.3.0, with exactly these names.
#[test]
fn c8_what_is_sent_is_the_map_of_4_3_0() {
    let metrics =
        Counter::ALL.iter().fold(Metrics::default(), |metrics, &counter| metrics.with(counter, counter as u64));
    let names: Vec<_> = metrics.iter().map(|(name, _)| name.to_string()).collect();
    let wanted = "bytes_in bytes_out rows_in rows_out batches_in batches_out init_wall_nanos processing_wall_nanos \
                  receive_wall_nanos send_wall_nanos work_wall_nanos work_cpu_nanos";
    assert_eq!(names.join(" "), wanted);
    assert_eq!(&metrics.encode()[0][..], b"\x0a\x08bytes_in\x12\x011", "key 1 and value 2, both strings");
}
