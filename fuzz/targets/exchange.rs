//! Any sequence of messages on the table, both sides (R1-R13): never a panic, nothing after the terminator, and a
//! refused message changes nothing.
#![no_main]

use anyudf_protocol::{Exchange, RequestKind, ResponseKind, Side};
use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Op {
    Init { chunked: bool },
    Chunk { last: bool, empty: bool },
    Data,
    Finish,
    Cancel,
    HalfClose,
    InitResponse { failed: bool },
    DataResponse,
    ErrorResponse,
    FinishResponse,
    CancelResponse,
}

fuzz_target!(init: anyudf_fuzz::seed("exchange"), |input: (u8, Vec<Op>)| {
    let (side, ops) = input;
    let side = [Side::Engine, Side::PipeliningEngine, Side::Worker][usize::from(side % 3)];
    let mut exchange = Exchange::new(side);
    let mut terminators = 0;
    for op in ops {
        let before = exchange.clone();
        let result = match op {
            Op::Init { chunked } => exchange.request(RequestKind::Init { chunked }),
            Op::Chunk { last, empty } => exchange.request(RequestKind::Chunk { last, empty }),
            Op::Data => exchange.request(RequestKind::Data),
            Op::Finish => exchange.request(RequestKind::Finish),
            Op::Cancel => exchange.request(RequestKind::Cancel),
            Op::HalfClose => {
                let _ = exchange.half_close();
                continue;
            }
            Op::InitResponse { failed } => exchange.response(ResponseKind::Init { failed }),
            Op::DataResponse => exchange.response(ResponseKind::Data),
            Op::ErrorResponse => exchange.response(ResponseKind::Error),
            Op::FinishResponse => exchange.response(ResponseKind::Finish),
            Op::CancelResponse => exchange.response(ResponseKind::Cancel),
        };
        match result {
            Err(violation) => {
                assert_eq!(exchange, before, "a refused message changes nothing: {violation}");
                assert!(violation.to_string().ends_with(')'), "{violation}");
            }
            Ok(()) if exchange.is_closed() && !before.is_closed() => terminators += 1,
            Ok(()) => {}
        }
    }
    assert!(terminators <= 1, "one terminator (R13)");
});
