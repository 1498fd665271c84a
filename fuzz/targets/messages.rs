//! Bytes of a peer on every parser of messages (R14, R16, R20, C8): nothing panics, and what parses survives a round
//! trip.
#![no_main]

use anyudf_grpc::Parse;
use anyudf_protocol::{ManageRequest, Metrics, PayloadAssembly, Request, Response, check_init, envelope, wire};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(init: anyudf_fuzz::seed("messages"), |bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Some(data) = envelope::split_data(&bytes) {
        let slow = wire::UdfRequest::decode(bytes.clone()).expect("the fast path takes only what prost takes");
        assert_eq!(Request::try_from(slow), Ok(Request::Data(data)), "and finds the same");
    }
    if let Ok(request) = Request::parse(bytes.clone()) {
        let again = wire::UdfRequest::from(request.clone()).encode_to_vec();
        assert_eq!(Request::parse(again.into()).expect("our own bytes"), request);
        if let Request::Init(init) = &request {
            if let Ok(udf) = check_init(init, &[wire::UdfWorkerDataFormat::Arrow]) {
                let _ = PayloadAssembly::new(udf, 1 << 20).and_then(PayloadAssembly::verify);
            }
        }
    }
    if let Ok(response) = Response::parse(bytes.clone()) {
        let again = wire::UdfResponse::from(response.clone()).encode_to_vec();
        assert_eq!(Response::parse(again.into()).expect("our own bytes"), response);
    }
    let _ = wire::WorkerRequest::decode(bytes.clone()).map(ManageRequest::try_from);
    let _ = Metrics::decode(&[bytes]);
});
