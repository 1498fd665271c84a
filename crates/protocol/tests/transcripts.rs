//! Dialogues as text: `>` is the engine, `<` the worker, and the table says what it thinks of the last word.

use anyudf_protocol::{Exchange, RequestKind, ResponseKind, Side};
use expect_test::{Expect, expect};

/// Plays a dialogue to the record of `side`. All but the last message must be in order.
fn check(side: Side, dialogue: &str, verdict: Expect) {
    let mut exchange = Exchange::new(side);
    let words: Vec<_> = dialogue.split_whitespace().collect();
    let mut last = Ok(());
    for turn in words.chunks(2) {
        last.unwrap_or_else(|violation| panic!("{dialogue}: before its end: {violation}"));
        last = match turn {
            [">", "close"] => exchange.half_close(),
            [">", word] => exchange.request(request(word)),
            ["<", word] => exchange.response(response(word)),
            other => panic!("what is {other:?}?"),
        };
    }
    verdict.assert_eq(&last.map_or_else(|violation| violation.to_string(), |()| "in order".to_string()));
}

fn request(word: &str) -> RequestKind {
    match word {
        "init" => RequestKind::Init { chunked: false },
        "init-chunked" => RequestKind::Init { chunked: true },
        "chunk" => RequestKind::Chunk { last: false, empty: false },
        "chunk-empty" => RequestKind::Chunk { last: false, empty: true },
        "chunk-last" => RequestKind::Chunk { last: true, empty: false },
        "chunk-last-empty" => RequestKind::Chunk { last: true, empty: true },
        "data" => RequestKind::Data,
        "finish" => RequestKind::Finish,
        "cancel" => RequestKind::Cancel,
        other => panic!("what is {other}?"),
    }
}

fn response(word: &str) -> ResponseKind {
    match word {
        "init" => ResponseKind::Init { failed: false },
        "init-error" => ResponseKind::Init { failed: true },
        "data" => ResponseKind::Data,
        "error" => ResponseKind::Error,
        "finish" => ResponseKind::Finish,
        "cancel" => ResponseKind::Cancel,
        other => panic!("what is {other}?"),
    }
}

fn worker(dialogue: &str, verdict: Expect) {
    check(Side::Worker, dialogue, verdict);
}

fn engine(dialogue: &str, verdict: Expect) {
    check(Side::Engine, dialogue, verdict);
}

/// R1: Init is first, exactly once.
#[test]
fn r1_init_is_first_and_once() {
    worker("> data", expect!["got DataRequest before Init (R1)"]);
    worker("> finish", expect!["got Finish before Init (R1)"]);
    worker("> init > init", expect!["got a second Init (R1)"]);
    worker("> init < init > data > init", expect!["got a second Init (R1)"]);
}

/// R2, C5: chunks only where they were announced, until the last; an empty one only at the end.
#[test]
fn r2_c5_chunks_come_where_they_were_announced() {
    worker("> init > chunk", expect!["got PayloadChunk although the payload is whole (R2)"]);
    worker("> init-chunked > chunk-last > chunk", expect!["got PayloadChunk although the payload is whole (R2)"]);
    worker("> init-chunked > chunk > chunk-empty", expect!["got an empty PayloadChunk that is not the last (C5)"]);
    worker("> init-chunked > chunk > chunk-last-empty", expect!["in order"]);
    worker("> init < init > data > chunk", expect!["got PayloadChunk although the payload is whole (R2)"]);
}

/// R4: InitResponse once; a good one only when the payload is whole, a failing one may come before.
#[test]
fn r4_init_response_comes_once_and_in_time() {
    engine("> init < init < init", expect!["got a second InitResponse (R4)"]);
    engine("> init-chunked > chunk < init", expect!["got InitResponse before the payload was whole (R4)"]);
    engine("> init-chunked > chunk < init-error", expect!["in order"]);
    worker("> init-chunked < init-error > chunk > chunk-last", expect!["in order"]);
    engine("< init", expect!["got InitResponse before Init (R4)"]);
}

/// R5: an engine's data waits for InitResponse.
#[test]
fn r5_data_waits_for_init_response() {
    engine("> init > data", expect!["got DataRequest before InitResponse (R5)"]);
    worker("> init > data", expect!["in order"]);
    worker("> init-chunked > data", expect!["got DataRequest before the payload was whole (R5)"]);
    worker("> init < init > finish > data", expect!["got DataRequest after Finish (R5)"]);
    worker("> init < init > finish > finish", expect!["got Finish after Finish (R5)"]);
}

/// R6: output between InitResponse and the end; a generator answers unasked, a sink never.
#[test]
fn r6_the_directions_are_independent() {
    engine("> init < data", expect!["got DataResponse before InitResponse (R6)"]);
    engine("> init < init < data < data", expect!["in order"]);
    engine("> init < init > data > data > finish < finish", expect!["in order"]);
}

/// R7: one error, and no data behind it from a worker of ours; an engine drops what a hasty one sends (E11).
#[test]
fn r7_one_error_after_all_data() {
    engine("> init < init < error < error", expect!["got a second ErrorResponse (R7)"]);
    worker("> init < init < error < data", expect!["got DataResponse after ErrorResponse (R7)"]);
    engine("> init < init < error < data", expect!["in order"]);
    worker("> init < init > finish < error", expect!["in order"]);
}

/// R8, C2: after an error only CancelResponse; an engine takes FinishResponse there for the first design's sake.
#[test]
fn r8_c2_after_an_error_comes_cancel_response() {
    worker("> init < init > finish < error < finish", expect!["got FinishResponse after ErrorResponse (R8)"]);
    worker("> init < init > finish < error > cancel < cancel", expect!["in order"]);
    engine("> init < init > finish < error < finish", expect!["in order"]);
    engine("> init < init < error > data", expect!["got DataRequest after the worker reported an error (R8)"]);
    engine("> init < init < error < cancel", expect!["in order"]);
}

/// R9, C4: Cancel at most once, at any moment, and nothing after it; a worker drops what follows unread.
#[test]
fn r9_c4_nothing_follows_cancel() {
    engine("> cancel", expect!["in order"]);
    engine("> init < init > cancel > cancel", expect!["got Cancel after Cancel (R9)"]);
    engine("> init < init > cancel > data", expect!["got DataRequest after Cancel (R9)"]);
    worker("> init < init > cancel > data > cancel > init", expect!["in order"]);
}

/// R10, E11: FinishResponse only after Finish.
#[test]
fn r10_finish_response_answers_finish() {
    engine("> init < init < finish", expect!["got FinishResponse before Finish was sent (R10)"]);
    engine("> init < finish", expect!["got FinishResponse before InitResponse (R10)"]);
    worker("> init < init < finish", expect!["got FinishResponse before Finish was sent (R10)"]);
}

/// R11: Cancel after Finish: either terminator for an engine; a worker that has not finished says CancelResponse.
#[test]
fn r11_cancel_after_finish() {
    worker("> init < init > finish > cancel < finish", expect!["got FinishResponse after Cancel (R11)"]);
    worker("> init < init > finish < finish > cancel", expect!["in order"]);
    engine("> init < init > finish > cancel < finish", expect!["in order"]);
    engine("> init < init > finish > cancel < cancel", expect!["in order"]);
    engine("> init < init > cancel < finish", expect!["got FinishResponse before Finish was sent (R10)"]);
}

/// R12, C3: after Cancel nothing but CancelResponse, and that only when somebody has cancelled.
#[test]
fn r12_c3_after_cancel_only_cancel_response() {
    worker("> init < init > cancel < data", expect!["got DataResponse after Cancel (R12)"]);
    worker("> init < init > cancel < error", expect!["got ErrorResponse after Cancel (R12)"]);
    worker("> init > cancel < init", expect!["got InitResponse after Cancel (C3)"]);
    worker("> init < init < cancel", expect!["got CancelResponse before Cancel (R12)"]);
    engine("> init > cancel < init < cancel", expect!["in order"]);
    engine("> init > cancel < cancel", expect!["in order"]);
}

/// R13: one terminator, and silence behind it.
#[test]
fn r13_one_terminator() {
    engine("> init < init > finish < finish < cancel", expect!["got CancelResponse after the terminator (R13)"]);
    engine("> init < init > finish < finish > cancel", expect!["got Cancel after the terminator (R13)"]);
}

/// C6: half-close before Finish or Cancel is a violation; then CancelResponse may come unasked (R19).
#[test]
fn c6_half_close_needs_finish_or_cancel() {
    worker("> init < init > data > close", expect!["the stream was half-closed before Finish or Cancel (C6)"]);
    worker("> close", expect!["the stream was half-closed before Finish or Cancel (C6)"]);
    worker("> init < init > finish > close", expect!["in order"]);
    worker("> cancel > close", expect!["in order"]);
    let mut exchange = Exchange::new(Side::Worker);
    exchange.request(RequestKind::Init { chunked: false }).expect("R1");
    exchange.response(ResponseKind::Init { failed: false }).expect("R4");
    exchange.half_close().expect_err("C6");
    exchange.response(ResponseKind::Cancel).expect("R19: CancelResponse carries the violation");
}

/// E11: an ErrorResponse before InitResponse counts as an init failure at the engine, and no worker of ours sends it.
#[test]
fn e11_an_early_error_is_an_init_failure() {
    engine("> init < error", expect!["in order"]);
    worker("> init < error", expect!["got ErrorResponse before InitResponse (R7)"]);
}
