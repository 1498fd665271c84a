//! Our client and what may answer it instead of a worker.

use anyudf_grpc::{Code, Connection, Endpoint, Settings};
use anyudf_protocol::{ManageRequest, Response, wire};
use bytes::Bytes;
use futures::FutureExt;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::peer::*;

/// R14: something that speaks HTTP/1, and closes as it does after nonsense, is no worker.
#[tokio::test]
async fn r14_http_1_is_no_worker() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("w");
    let listener = UnixListener::bind(&path).expect("a fresh socket");
    let answer = async {
        let (mut stream, _) = listener.accept().await.expect("somebody connects");
        // Read first: what is unread when it closes would make a reset of the close.
        stream.read_exact(&mut [0; 24]).await.expect("the preface comes");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await.expect("it listens");
    };
    let endpoint = Endpoint::Unix(path);
    let settings = Settings::default();
    let attempt = async { tokio::join!(Connection::connect(&endpoint, &settings, None), answer) };
    let (refused, ()) = soon("it is refused", attempt).await;
    let refused = refused.expect_err("that is no HTTP/2");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains(&endpoint.to_string()), "it names what it connected to: {refused}");
}

/// E3: nobody answering is the caller's to bound; dropping the attempt closes it.
#[tokio::test]
async fn e3_silence_is_bounded_by_the_caller() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("w");
    let listener = UnixListener::bind(&path).expect("a fresh socket");
    let (endpoint, settings) = (Endpoint::Unix(path), Settings::default());
    let mut connecting = Box::pin(Connection::connect(&endpoint, &settings, None));
    let mut stream = tokio::select! {
        _ = &mut connecting => panic!("nobody has answered"),
        accepted = listener.accept() => accepted.expect("somebody connects").0,
    };
    let mut preface = [0; 24];
    tokio::select! {
        _ = &mut connecting => panic!("nobody has answered"),
        read = stream.read_exact(&mut preface) => read.map(drop).expect("the preface comes"),
    }
    assert_eq!(&preface[..14], b"PRI * HTTP/2.0");
    assert!((&mut connecting).now_or_never().is_none(), "it waits");
    drop(connecting);
    soon("the connection is closed", stream.read_to_end(&mut Vec::new())).await.expect("in peace");
}

/// R14: nobody listening is UNAVAILABLE, at once.
#[tokio::test]
async fn r14_nobody_listens() {
    let directory = tempfile::tempdir().expect("a directory");
    let endpoint = Endpoint::Unix(directory.path().join("w"));
    let refused = Connection::connect(&endpoint, &Settings::default(), None).await.expect_err("nobody listens");
    assert_eq!(refused.code(), Code::Unavailable);
}

/// R14: HTTP/2 that is no gRPC is told apart from a worker.
#[tokio::test]
async fn r14_a_web_server_is_no_worker() {
    let mut fake = Fake::start().await;
    let (_connection, mut strings) = fake.executed().await;
    let (_request, mut respond) = fake.call().await;
    let not_found = http::Response::builder().status(404).header("content-type", "text/html").body(());
    respond.send_response(not_found.expect("a good response"), true).expect("the stream is there");
    let status = strings.broken().await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("404") && status.message().contains("text/html"), "{status}");
}

/// R14: a status that comes instead of messages is the stream's end.
#[tokio::test]
async fn r14_a_status_without_messages() {
    for (code, expected) in [("14", Code::Unavailable), ("16", Code::Unauthenticated), ("0", Code::Internal)] {
        let mut fake = Fake::start().await;
        let (_connection, mut strings) = fake.executed().await;
        let (_request, mut respond) = fake.call().await;
        let mut response = accepted();
        response.headers_mut().insert("grpc-status", code.parse().expect("digits"));
        respond.send_response(response, true).expect("the stream is there");
        assert_eq!(strings.broken().await.code(), expected, "grpc-status {code}");
    }
}

/// P11: a worker that answers in an encoding which was not offered is refused.
#[tokio::test]
async fn p11_only_what_was_offered_is_read() {
    let mut fake = Fake::start().await;
    let (_connection, mut strings) = fake.executed().await;
    let (request, mut respond) = fake.call().await;
    assert_eq!(request.headers()["grpc-accept-encoding"], "identity,gzip");
    let mut response = accepted();
    response.headers_mut().insert("grpc-encoding", "zstd".parse().expect("a good value"));
    respond.send_response(response, false).expect("the stream is there");
    let status = strings.broken().await;
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("zstd"), "{status}");
}

/// P8, P9: what our client says of itself: `localhost`, gRPC, and no token unless it has one.
#[tokio::test]
async fn p8_our_client_sends_localhost() {
    let mut fake = Fake::start().await;
    let (_connection, _strings) = fake.executed().await;
    let (request, _respond) = fake.call().await;
    assert_eq!(request.uri().authority().map(|authority| authority.as_str()), Some("localhost"));
    assert_eq!(request.uri().path(), EXECUTE);
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    assert!(!request.headers().contains_key("anyudf-token"));
}

/// M1: an answer to another question is no answer.
#[tokio::test]
async fn m1_the_answer_must_fit_the_question() {
    let mut fake = Fake::start().await;
    let connection = Connection::connect(&fake.endpoint, &Settings::default(), None).await.expect("it listens");
    let answer = async {
        let (_request, mut respond) = fake.call().await;
        let mut send = respond.send_response(accepted(), false).expect("the stream is there");
        let shutdown = anyudf_protocol::ManageResponse::Shutdown { sessions_settled: true };
        let message = wire::WorkerResponse::from(shutdown).encode_to_vec();
        send.send_data(framed(0, &message), false).expect("the stream is there");
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("digits"));
        send.send_trailers(trailers).expect("the stream is there");
    };
    let (answered, ()) = tokio::join!(connection.manage(ManageRequest::Heartbeat), answer);
    assert_eq!(answered.expect_err("it asked for a heartbeat").code(), Code::Internal);
}

/// R14: the end of the stream without a status, and messages before it, are told to the role as they come.
#[tokio::test]
async fn r14_an_end_without_a_status() {
    let mut fake = Fake::start().await;
    let (_connection, mut strings) = fake.executed().await;
    let (_request, mut respond) = fake.call().await;
    let mut send = respond.send_response(accepted(), false).expect("the stream is there");
    let message = wire::UdfResponse::from(Response::Data("data".into())).encode_to_vec();
    send.send_data(framed(0, &message), false).expect("the stream is there");
    send.send_data(Bytes::new(), true).expect("the stream is there");
    assert_eq!(strings.message().await, Response::Data("data".into()));
    assert!(matches!(strings.event().await, Some(anyudf_grpc::Event::Ended(_))));
}
