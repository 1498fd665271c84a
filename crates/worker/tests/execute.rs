//! Dialogues on an `Execute` stream over a real socket: rules R, C and S as an engine sees them.

mod support;

use std::io::Write as _;

use anyudf_protocol::{Blame, Counter, wire};
use anyudf_worker::Worker;
use bytes::Bytes;
use prost::Message;
use support::{Client, Served, frame, init};

async fn client() -> (Served, Client) {
    let served = Served::bundled().await;
    let client = served.client().await;
    (served, client)
}

/// Plays a dialogue with the bundled worker.
async fn check(script: &str) {
    let (_served, client) = client().await;
    client.play(script).await;
}

/// R1, R4, R6, R10, R13, S1: one batch comes back; three batches in order; Finish right after init.
#[tokio::test]
async fn r1_r4_r6_r10_r13_s1_echo() {
    check("> init:echo < init > data:abc < data:abc > finish < finish < end:Ok").await;
    check("> init:echo < init > data:a > data:b > data:c < data:a < data:b < data:c > finish < finish < end:Ok").await;
    check("> init:echo < init > finish < finish < end:Ok").await;
    check("> init:echo < init > data: < data: > finish < finish < end:Ok").await;
}

/// R6: sending and receiving at the same time, far beyond both windows.
#[tokio::test]
async fn r6_e5_both_directions_at_once() {
    let (_served, client) = client().await;
    let mut dialogue = client.play("> init:echo < init").await;
    // 64 MiB through windows of 8 MiB: h2 sends while we read.
    for _ in 0..256 {
        dialogue.say("data*262144");
    }
    dialogue.say("finish");
    for _ in 0..256 {
        assert_eq!(dialogue.hear().await, "data*262144");
    }
    dialogue.play("< finish < end:Ok").await;
    assert_eq!(dialogue.hear().await, "end:Ok");
}

/// R2, R3, S1: a payload in one chunk, in three, with an empty last one; checked as a whole.
#[tokio::test]
async fn r2_r3_c5_payloads_in_chunks() {
    check("> init-chunked:echo > last:payload < init > finish < finish").await;
    check("> init-chunked:echo > chunk:a > chunk:b > last:c < init > finish < finish").await;
    check("> init-chunked:echo > chunk:a > last: < init > finish < finish").await;
    check("> init-chunked:echo/generate=1 > last:2 < init < data:0 < data:1 > cancel < data:2|cancel").await;
    check("> init-chunked:echo > chunk: < init[PROTOCOL_VIOLATION] < cancel < end:Ok").await;
}

/// R3: size and checksum are compared, also for a payload that came inline.
#[tokio::test]
async fn r3_sizes_and_checksums() {
    let (_served, client) = client().await;
    let with = |size: Option<i64>, crc: Option<u32>| {
        let mut init = init("echo=123456789");
        let udf = init.udf.as_mut().unwrap();
        (udf.payload_size, udf.payload_crc32) = (size, crc);
        init
    };
    // The check value of this CRC-32.
    let right = with(Some(9), Some(0xcbf4_3926));
    client.execute().await.with_init(right).play("> init < init > finish < finish").await;
    let wrong = [
        (with(Some(8), None), "PAYLOAD_SIZE_MISMATCH"),
        (with(Some(-1), None), "PAYLOAD_SIZE_MISMATCH"),
        (with(Some(i64::MAX), None), "PAYLOAD_TOO_LARGE"),
        (with(None, Some(1)), "PAYLOAD_CHECKSUM_MISMATCH"),
    ];
    for (init, condition) in wrong {
        let mut dialogue = client.execute().await.with_init(init);
        dialogue.play(&format!("> init < init[{condition}]")).await;
        assert_eq!(dialogue.error().blame, Blame::Protocol);
        dialogue.play("> cancel < cancel < end:Ok").await;
    }
}

/// R4, C2, S1: init fails, inline and in chunks; late chunks, data and Finish are dropped, and Finish shortens the wait.
#[tokio::test]
async fn r4_c2_s1_init_failures() {
    let (_served, client) = client().await;
    let mut dialogue = client.play("> init:echo=INIT_ERROR < init[-]").await;
    assert_eq!(dialogue.error().blame, Blame::Worker);
    assert_eq!(dialogue.error().message, "simulated init failure");
    dialogue.play("> cancel < cancel < end:Ok").await;
    client.play("> init-chunked:echo=INIT_ > last:ERROR < init[-] > data:x > cancel < cancel < end:Ok").await;
    client.play("> init:nonsense < init[UNKNOWN_PAYLOAD_FORMAT] > data:x > finish < cancel < end:Ok").await;
}

/// R18: the error about an unknown payload format lists the known ones.
#[tokio::test]
async fn r18_known_formats_are_listed() {
    let (_served, client) = client().await;
    let dialogue = client.play("> init:nonsense < init[UNKNOWN_PAYLOAD_FORMAT]").await;
    let error = dialogue.error();
    assert_eq!(error.blame, Blame::Protocol);
    for known in ["`nonsense`", "catalog", "echo", "echo/hang", "function"] {
        assert!(error.message.contains(known), "{}", error.message);
    }
}

/// R15, R17, R18: data_format, protocol_version and the function's fields are checked, the version first.
#[tokio::test]
async fn r15_r17_r18_content_of_init() {
    let (_served, client) = client().await;
    let changed = |change: &dyn Fn(&mut wire::Init)| {
        let mut init = init("echo");
        change(&mut init);
        init
    };
    let cases = [
        (changed(&|init| init.protocol_version = Some(2)), "UNSUPPORTED_PROTOCOL_VERSION"),
        (changed(&|init| (init.protocol_version, init.data_format) = (Some(2), 0)), "UNSUPPORTED_PROTOCOL_VERSION"),
        (changed(&|init| init.data_format = 0), "UNSUPPORTED_DATA_FORMAT"),
        (changed(&|init| init.data_format = 99), "UNSUPPORTED_DATA_FORMAT"),
        (changed(&|init| init.udf = None), "MISSING_FIELD"),
        (changed(&|init| init.udf.as_mut().unwrap().format.clear()), "MISSING_FIELD"),
    ];
    for (init, condition) in cases {
        let script = format!("> init < init[{condition}] > cancel < cancel < end:Ok");
        client.execute().await.with_init(init).play(&script).await;
    }
    let unset = changed(&|init| init.protocol_version = None);
    client.execute().await.with_init(unset).play("> init < init > cancel < cancel").await;
}

/// R1, R2, R5, R16, R19, C2: violations are reported where the stream stands, and end it without waiting.
#[tokio::test]
async fn r1_r2_r5_r16_r19_c2_violations() {
    let (_served, client) = client().await;
    for early in ["data:x", "finish", "chunk:x", "empty", "unknown"] {
        client.play(&format!("> {early} < init[PROTOCOL_VIOLATION] < cancel < end:Ok")).await;
    }
    for late in ["init:echo", "chunk:x", "last:x", "empty", "unknown"] {
        client.play(&format!("> init:echo < init > {late} < error[PROTOCOL_VIOLATION] < cancel < end:Ok")).await;
    }
    let mut dialogue = client.play("> init:echo < init > init:echo < error[PROTOCOL_VIOLATION]").await;
    assert_eq!(dialogue.error().blame, Blame::Protocol);
    assert!(dialogue.error().message.contains("got a second Init (R1)"), "{}", dialogue.error().message);
    dialogue.play("< cancel < end:Ok").await;
    client.play("> init-chunked:echo > data:x < init[PROTOCOL_VIOLATION] < cancel < end:Ok").await;
}

/// R5, R19: data after Finish, while the function is still busy with what came before.
#[tokio::test]
async fn r5_r19_data_after_finish() {
    check("> init:echo/hang < init > data:x > finish > data:y < error[PROTOCOL_VIOLATION] < cancel < end:Ok").await;
}

/// R7, R8, S2, C2: the expected user error, then CancelResponse when Cancel comes, or a second after Finish.
#[tokio::test]
async fn r7_r8_c2_s2_user_errors() {
    let (_served, client) = client().await;
    let mut dialogue = client.play("> init:echo < init > data:a > data:ERROR < data:a < error[SimulatedError]").await;
    let error = dialogue.error();
    assert_eq!((error.blame, error.message.as_str()), (Blame::User, "simulated user-code error"));
    dialogue.play("> data:b > cancel < cancel < end:Ok").await;
    client.play("> init:echo < init > data:ERROR > finish < error[SimulatedError] > cancel < cancel").await;
    client.play("> init:echo < init > data:ERROR > finish < error[SimulatedError] < cancel < end:Ok").await;
}

/// R9, R11, C3, C4: Cancel at any moment, even before Init; after Finish either terminator; what follows is dropped.
#[tokio::test]
async fn r9_r11_c3_c4_cancel_at_any_moment() {
    check("> cancel < cancel < end:Ok").await;
    check("> init:echo < init > cancel < cancel < end:Ok").await;
    check("> init:echo < init > data:a < data:a > cancel < cancel < end:Ok").await;
    check("> init-chunked:echo > chunk:a > cancel < cancel < end:Ok").await;
    check("> init:echo < init > finish > cancel < finish|cancel < end:Ok").await;
    check("> init:echo < init > finish < finish > cancel < end:Ok").await;
    check("> init:echo < init > cancel > cancel > data:x > init:echo < cancel < end:Ok").await;
}

/// R12, E9: Cancel is heard behind a full window that nobody reads, and the output that waits is not sent any more.
#[tokio::test]
async fn r12_e5_cancel_is_heard_by_a_stalled_worker() {
    let (_served, client) = client().await;
    // Far more than both windows hold. Nothing of it is read before Cancel is sent.
    let mut dialogue = client.play("> init:echo/generate=100000000 < init").await;
    client.until("sessions_active", "1").await;
    dialogue.say("cancel");
    let mut answers = 0u64;
    loop {
        match dialogue.hear().await {
            data if data.starts_with("data") => answers += 1,
            cancel => break assert_eq!(cancel, "cancel"),
        }
    }
    assert!(answers < 10_000_000, "{answers} messages are more than a window of 8 MiB can hold");
    assert_eq!(dialogue.hear().await, "end:Ok");
}

/// E5: a consumer that never reads stops the function; the worker does not go on in memory.
#[tokio::test]
async fn e5_a_consumer_that_never_reads_stops_the_worker() {
    let (_served, client) = client().await;
    let mut dialogue = client.play("> init:echo < init").await;
    let sent = 64 << 20;
    for _ in 0..64 {
        dialogue.say("data*1048576");
    }
    // What it has taken in so far can only be what its own window, its queues and our window hold together.
    let most = (8 << 20) + (8 << 20) + (8 << 20) + (4 << 20);
    for _ in 0..200 {
        let taken: usize = client.heartbeat().await["bytes_in"].parse().unwrap();
        assert!(taken <= most, "{taken} of {sent} bytes were taken in although nobody reads");
    }
    dialogue.say("cancel");
    let mut heard = dialogue.hear().await;
    while heard.starts_with("data") {
        heard = dialogue.hear().await;
    }
    assert_eq!(heard, "cancel");
}

/// C6, R19: half-close before Finish or Cancel is a violation; after Finish output is drained.
#[tokio::test]
async fn c6_r19_half_close() {
    check("> close < cancel[PROTOCOL_VIOLATION] < end:Ok").await;
    check("> init:echo < init > data:a < data:a > close < cancel[PROTOCOL_VIOLATION] < end:Ok").await;
    check("> init:echo < init > data:a > finish > close < data:a < finish < end:Ok").await;
    check("> init:echo < init > cancel > close < cancel < end:Ok").await;
    check("> init:echo < init > data:ERROR < error[SimulatedError] > close < cancel < end:Ok").await;
}

/// C1: data and Finish before InitResponse are taken, if the payload is whole.
#[tokio::test]
async fn c1_pipelining() {
    check("> init:echo > data:a > finish < init < data:a < finish < end:Ok").await;
    check("> init-chunked:echo > last:x > data:a > finish < init < data:a < finish < end:Ok").await;
}

/// R14: bytes that are no such message end the call with INTERNAL, a message over the limit with RESOURCE_EXHAUSTED.
#[tokio::test]
async fn r14_p7_transport_has_a_status() {
    let served = Served::start_with(Worker::bundled(), |options| options.max_message_bytes = 1 << 20).await;
    let client = served.client().await;
    client.play("> init:echo < init > garbage < end:Internal").await;
    client.play("> init:echo < init > data*1048577 < end:ResourceExhausted").await;
    client.play("> init:echo < init > data*1048000 < data*1048000 > finish < finish").await;
    client.until("sessions_active", "0").await;
}

/// R14: a stream that breaks equals Cancel: the session is no longer active, and nothing else is disturbed.
#[tokio::test]
async fn r14_a_reset_stream_is_a_cancellation() {
    let (_served, client) = client().await;
    let mut other = client.play("> init:echo < init").await;
    client.play("> init:echo/hang < init > data:x > reset").await;
    client.until("sessions_active", "1").await;
    other.play("> data:a < data:a > finish < finish < end:Ok").await;
}

/// R14: the client's own deadline ends the call.
#[tokio::test]
async fn r14_the_clients_deadline() {
    let (_served, client) = client().await;
    let hasty = client.clone().with_header("grpc-timeout", "50m");
    let mut dialogue = hasty.play("> init:echo/hang > data:x").await;
    // On a slow machine the deadline may come before InitResponse.
    while dialogue.hear().await == "init" {}
    assert_eq!(dialogue.hear().await, "end:DeadlineExceeded");
    client.until("sessions_active", "0").await;
}

/// R20: fields that nobody knows are ignored, wherever they are.
#[tokio::test]
async fn r20_unknown_fields_are_ignored() {
    let (_served, client) = client().await;
    let mut dialogue = client.execute().await;
    let unknown = [0x9a, 0x06, 0x02, b'h', b'i'];
    let mut init_bytes = init("echo").encode_to_vec();
    init_bytes.extend(unknown);
    // UdfRequest.control { init { …, 99 }, 99 }, 99
    let nest = |field: u8, bytes: &[u8]| {
        let mut nested = vec![field << 3 | 2];
        prost::encoding::encode_varint(bytes.len() as u64, &mut nested);
        [&nested, bytes, &unknown[..]].concat()
    };
    dialogue.message(nest(1, &nest(1, &init_bytes)));
    dialogue.play("< init").await;
    let data = wire::DataRequest { data: "abc".into() }.encode_to_vec();
    dialogue.message(nest(2, &[&data[..], &unknown[..]].concat()));
    dialogue.play("< data:abc > finish < finish").await;
}

/// P11: gzip is understood, another encoding is UNIMPLEMENTED.
#[tokio::test]
async fn p11_compression() {
    let (_served, client) = client().await;
    let zipped = client.clone().with_header("grpc-encoding", "gzip");
    let mut dialogue = zipped.play("> init:echo < init").await;
    let plain = wire::UdfRequest::from(anyudf_protocol::Request::Data(vec![b'z'; 5_000].into())).encode_to_vec();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    dialogue.frame(frame(Bytes::from(encoder.finish().unwrap()), 1));
    dialogue.play("< data*5000 > finish < finish").await;
    let snappy = client.with_header("grpc-encoding", "snappy");
    assert_eq!(snappy.execute().await.hear().await, "end:Unimplemented");
}

/// S3, C8: FinishResponse has status = ok beside the counters; CancelResponse has the counters as well.
#[tokio::test]
async fn s3_c8_metrics() {
    let (_served, client) = client().await;
    let dialogue = client.play("> init:echo < init > data:abc < data:abc > finish < finish").await;
    let metrics = dialogue.metrics();
    assert_eq!(metrics.get("status").as_deref(), Some("ok"));
    assert_eq!((metrics.counter(Counter::BytesIn), metrics.counter(Counter::BytesOut)), (Some(3), Some(3)));
    assert_eq!((metrics.counter(Counter::BatchesIn), metrics.counter(Counter::BatchesOut)), (Some(1), Some(1)));
    // Echo does not decode, so nobody knows the rows.
    assert_eq!((metrics.counter(Counter::RowsIn), metrics.counter(Counter::RowsOut)), (None, None));
    use Counter as C;
    for counter in [C::InitWallNanos, C::ProcessingWallNanos, C::ReceiveWallNanos, C::SendWallNanos, C::WorkWallNanos] {
        assert!(metrics.counter(counter).is_some(), "{}", counter.name());
    }
    assert!(metrics.counter(C::WorkCpuNanos).is_some_and(|nanos| nanos > 0));
    let cancelled = client.play("> init:echo < init > data:abc < data:abc > cancel < cancel").await;
    assert_eq!(cancelled.metrics().counter(C::BytesIn), Some(3));
}

/// S4: a generator answers before it is asked.
#[tokio::test]
async fn s4_r6_generate() {
    check("> init:echo/generate=3 < init < data:0 < data:1 < data:2 > finish < finish < end:Ok").await;
    check("> init:echo/generate=0 < init > finish < finish < end:Ok").await;
    check("> init:echo/generate=many < init[INVALID_PAYLOAD] > cancel < cancel").await;
}

/// S5: a sink never answers; its result is the number of batches.
#[tokio::test]
async fn s5_r6_sink() {
    let (_served, client) = client().await;
    let dialogue = client.play("> init:echo/sink < init > data:a > data:b > data:c > finish < finish").await;
    assert_eq!(dialogue.data(), "3");
}

/// S6, R12: a slow function notices Cancel between its batches.
#[tokio::test]
async fn s6_r12_slow() {
    check("> init:echo/slow=1 < init > data:a < data:a > finish < finish").await;
    check("> init:echo/slow=50 < init > data:a > data:b > data:c > cancel < cancel < end:Ok").await;
}

/// S6, C11, M2: a function that hangs is a UserError after its time, and its call is overdue from then on.
#[tokio::test]
async fn s6_c11_m2_hang() {
    let (_served, client) = client().await;
    let mut other = client.play("> init:echo < init").await;
    let mut limited = init("echo/hang");
    limited.session_conf.insert("anyudf.call_timeout_ms".into(), "30".into());
    let mut dialogue = client.execute().await.with_init(limited);
    dialogue.play("> init < init > data:a < error[CALL_TIMEOUT]").await;
    let error = dialogue.error();
    assert_eq!(error.blame, Blame::User);
    assert!(error.message.contains("process, batch 1 within 30 ms"), "{}", error.message);
    dialogue.play("> cancel < cancel < end:Ok").await;
    assert_eq!(client.heartbeat().await["calls_overdue"], "1");
    other.play("> data:a < data:a > finish < finish").await;
}

/// C11: a time that is no number is a ProtocolError that names the key.
#[tokio::test]
async fn c11_a_bad_limit_is_named() {
    let (_served, client) = client().await;
    for wrong in ["soon", "0", "-5", ""] {
        let mut init = init("echo");
        init.session_conf.insert("anyudf.call_timeout_ms".into(), wrong.into());
        let mut dialogue = client.execute().await.with_init(init);
        dialogue.play("> init < init[INVALID_SESSION_CONF]").await;
        assert!(dialogue.error().message.contains("anyudf.call_timeout_ms"));
        dialogue.play("> cancel < cancel").await;
    }
}

/// P7, M6: an engine that takes less than a terminator may need is told so, with key, value and minimum.
#[tokio::test]
async fn p7_m6_a_limit_that_holds_no_terminator_is_refused() {
    let (_served, client) = client().await;
    let asked = |limit: &str| {
        let mut init = init("echo");
        init.session_conf.insert("anyudf.max_message_bytes".into(), limit.into());
        init
    };
    for wrong in ["1", "1000", "4095", "0", "soon"] {
        let mut dialogue = client.execute().await.with_init(asked(wrong));
        dialogue.play("> init < init[INVALID_SESSION_CONF]").await;
        let text = &dialogue.error().message;
        assert!(text.contains(&format!("anyudf.max_message_bytes is `{wrong}`")) && text.contains("4096"), "{text}");
        dialogue.play("> cancel < cancel").await;
    }
    let mut dialogue = client.execute().await.with_init(asked("4096"));
    dialogue.play("> init < init > data:a < data:a > finish < finish < end:Ok").await;
}

/// R13: ten thousand sessions, one after another, leave no thread, descriptor or memory behind.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn r13_sessions_leave_nothing_behind() {
    let (_served, client) = client().await;
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let memory = async || client.heartbeat().await["memory_rss_bytes"].parse::<usize>().unwrap();
    let sessions = async |pairs: usize| {
        for _ in 0..pairs {
            client.play("> init:echo < init > data:a < data:a > finish < finish < end:Ok").await;
            client.play("> init:echo < init > cancel < cancel < end:Ok").await;
        }
        client.until("sessions_active", "0").await;
    };
    sessions(500).await;
    let (descriptors, resident) = (count("fd"), memory().await);
    sessions(5_000).await;
    // The other tests of this binary run beside it: these are bounds, not equalities.
    assert!(count("fd") <= descriptors + 100, "descriptors grew from {descriptors} to {}", count("fd"));
    assert!(count("task") < 200, "{} threads are left", count("task"));
    let grown = memory().await.saturating_sub(resident);
    assert!(grown < 256 << 20, "memory grew by {grown} bytes");
}
