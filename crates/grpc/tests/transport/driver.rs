//! How a stream ends: properly, by a reset, and when the peer does not care.

use std::future::poll_fn;

use anyudf_grpc::{Code, Ending, Event, Status};
use anyudf_protocol::{FinishResponse, Request, Response};
use bytes::Bytes;
use h2::Reason;

use crate::peer::*;

fn finish() -> Response {
    Response::Finish(FinishResponse::default())
}

/// R13: the worker's side ends with everything it said and a status; the role is done once the engine has closed too.
#[tokio::test]
async fn r13_a_worker_ends_with_trailers() {
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (mut send, response) = client.execute().await;
    let mut strings = served.arrival().await;
    strings.say(Response::Data(pattern(1_000, 0)));
    strings.say(finish());
    strings.end(Ending::Close(Status::ok()));
    let answer = Answer::read(response).await;
    assert_eq!(messages(&answer.body), [Response::Data(pattern(1_000, 0)), finish()]);
    assert_eq!(answer.code(), Some(Code::Ok));
    assert!(strings.pending().is_empty());
    send.send_data(Bytes::new(), true).expect("the stream waits for us");
    assert!(strings.event().await.is_none(), "the role is done");
}

/// R14: a status with a text arrives as it was.
#[tokio::test]
async fn r14_a_status_arrives() {
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (_send, response) = client.execute().await;
    served.arrival().await.end(Ending::Close(Status::unavailable("größer als 100 %")));
    let answer = Answer::read(response).await;
    assert_eq!(answer.code(), Some(Code::Unavailable));
    let trailers = answer.trailers.expect("there are trailers");
    assert_eq!(trailers["grpc-message"], "gr%C3%B6%C3%9Fer als 100 %25");
}

/// E9: a reset is seen as one, by either peer.
#[tokio::test]
async fn e9_a_reset_is_a_reset() {
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (mut send, _response) = client.execute().await;
    let strings = served.arrival().await;
    strings.end(Ending::Reset);
    let reason = soon("the reset comes", poll_fn(|cx| send.poll_reset(cx))).await;
    assert_eq!(reason.expect("it is a reset"), Reason::CANCEL);

    let mut fake = Fake::start().await;
    let (_connection, strings) = fake.executed().await;
    let (_request, mut respond) = fake.call().await;
    let mut send = respond.send_response(accepted(), false).expect("the stream is there");
    strings.end(Ending::Reset);
    let reason = soon("the reset comes", poll_fn(|cx| send.poll_reset(cx))).await;
    assert_eq!(reason.expect("it is a reset"), Reason::CANCEL);
}

/// R14: a peer that resets or vanishes is a broken stream, at both ends.
#[tokio::test]
async fn r14_a_peer_that_is_gone_is_a_broken_stream() {
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (mut send, _response) = client.execute().await;
    let mut strings = served.arrival().await;
    send.send_reset(Reason::CANCEL);
    assert_eq!(strings.broken().await.code(), Code::Cancelled);
    assert!(strings.event().await.is_none(), "the role is done");

    let (_send, _response) = client.execute().await;
    let mut strings = served.arrival().await;
    client.connection.abort();
    assert_eq!(strings.broken().await.code(), Code::Unavailable);
    assert!(strings.event().await.is_none(), "the role is done");

    let mut fake = Fake::start().await;
    let (connection, mut strings) = fake.executed().await;
    let _call = fake.call().await;
    fake.vanish();
    assert_eq!(strings.broken().await.code(), Code::Unavailable);
    soon("the connection is known to be gone", connection.closed()).await;
    assert!(connection.is_closed());
}

/// R14: a stream that is reset while the role waits for room is heard of, too.
#[tokio::test]
async fn r14_a_reset_is_heard_while_waiting_for_room() {
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (mut send, response) = client.execute().await;
    let mut strings = served.arrival().await;
    (0..100).for_each(|_| strings.say(Response::Data(pattern(10_000, 0))));
    let _stalled = soon("headers", response).await.expect("it is accepted");
    // After our side has ended nothing more is read from us; the reset still comes through.
    send.send_data(Bytes::new(), true).expect("the stream is there");
    assert!(matches!(strings.event().await, Some(Event::Ended(_))));
    client.round_trips().await;
    send.send_reset(Reason::CANCEL);
    assert_eq!(strings.broken().await.code(), Code::Cancelled);
}

/// R13: the engine half-closes once it has seen the terminator, after all it said.
#[tokio::test]
async fn r13_an_engine_half_closes() {
    let mut fake = Fake::start().await;
    let (_connection, mut strings) = fake.executed().await;
    let (call, mut respond) = fake.call().await;
    strings.say(Request::Finish);
    strings.end(Ending::Close(Status::ok()));
    let mut stream = call.into_body();
    let mut body = Vec::new();
    while let Some(data) = soon("the request ends", stream.data()).await {
        body.extend_from_slice(&data.expect("the stream is whole"));
    }
    assert!(stream.is_end_stream());
    assert!(!body.is_empty());
    let mut send = respond.send_response(accepted(), false).expect("the engine waits for us");
    send.send_trailers(Default::default()).expect("the engine waits for us");
    assert!(strings.event().await.is_none(), "the role is done");
}

/// R13: a peer that never ends its side is reset after a while, and nothing waits for it for ever.
#[tokio::test]
async fn r13_a_peer_that_never_closes_is_reset() {
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (mut send, response) = client.execute().await;
    let mut strings = served.arrival().await;
    strings.end(Ending::Close(Status::ok()));
    assert_eq!(Answer::read(response).await.code(), Some(Code::Ok));
    let reason = soon("the reset comes", poll_fn(|cx| send.poll_reset(cx))).await;
    assert_eq!(reason.expect("it is a reset"), Reason::NO_ERROR);
    assert!(strings.event().await.is_none(), "the role is done");

    let mut fake = Fake::start().await;
    let (_connection, mut strings) = fake.executed().await;
    let (_request, mut respond) = fake.call().await;
    let mut send = respond.send_response(accepted(), false).expect("the stream is there");
    send.send_data(
        framed(0, &prost::Message::encode_to_vec(&anyudf_protocol::wire::UdfResponse::from(finish()))),
        false,
    )
    .expect("the stream is there");
    assert_eq!(strings.message().await, finish());
    strings.end(Ending::Close(Status::ok()));
    let reason = soon("the reset comes", poll_fn(|cx| send.poll_reset(cx))).await;
    assert_eq!(reason.expect("it is a reset"), Reason::CANCEL);
    assert!(strings.event().await.is_none(), "the role is done");
}
