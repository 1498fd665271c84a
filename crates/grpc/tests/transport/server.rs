//! Who may call, what else is served, where it listens, and how it stops.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net as std_unix;

use anyudf_grpc::{Code, Connection, Ending, Endpoint, Listener, Settings, Status};
use anyudf_protocol::{ManageRequest, ManageResponse, Response, wire};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Uri;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request, server_reflection_response};

use crate::peer::*;

const SERVICE: &str = "org.apache.spark.udf.worker.UdfWorker";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

fn heartbeat() -> Vec<u8> {
    wire::WorkerRequest::from(ManageRequest::Heartbeat).encode_to_vec()
}

fn origin() -> Uri {
    Uri::from_static("http://localhost")
}

async fn health(connection: &Connection, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.into() };
    let answer = HealthClient::with_origin(connection.clone(), origin()).check(request).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

/// P9: with a token set every call must show it, whatever it is for.
#[tokio::test]
async fn p9_calls_without_the_token_are_refused() {
    let mut served = Served::guarded(small(), Some("secret")).await;
    let mut client = Client::connect(&served).await;
    for wrong in [&[][..], &[("anyudf-token", "secre")], &[("anyudf-token", "")], &[("anyudf-token", "secret ret")]] {
        for path in [MANAGE, HEALTH, EXECUTE, "/no/such"] {
            let code = client.unary(path, wrong, &heartbeat()).await.code();
            assert_eq!(code, Some(Code::Unauthenticated), "{path} with {wrong:?}");
        }
    }
    let right = &[("anyudf-token", "secret")];
    assert_eq!(client.unary(MANAGE, right, &heartbeat()).await.code(), Some(Code::Ok));
    assert_eq!(client.unary(HEALTH, right, &[]).await.code(), Some(Code::Ok));
    let (_send, _response) = client.call(EXECUTE, right).await;
    served.arrival().await;
}

/// P9: our client shows the token that it was given, with every kind of call.
#[tokio::test]
async fn p9_our_client_shows_the_token() {
    let mut served = Served::guarded(small(), Some("secret")).await;
    let connection = served.connect(Some("secret")).await;
    connection.manage(ManageRequest::Heartbeat).await.expect("the token is right");
    assert_eq!(health(&connection, "").await, Ok(ServingStatus::Serving));
    let _duplex = connection.execute(None).await.expect("the connection is there");
    served.arrival().await;
    let wrong = served.connect(Some("wrong")).await;
    let refused = wrong.manage(ManageRequest::Heartbeat).await.expect_err("the token is wrong");
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(health(&wrong, "").await, Err(Code::Unauthenticated));
    let odd = Connection::connect(&served.endpoint, &Settings::default(), Some("line\nbreak")).await;
    assert_eq!(odd.expect_err("no header can carry it").code(), Code::InvalidArgument);
}

/// M1: the answer has the branch of the question, and a question without one is INVALID_ARGUMENT.
#[tokio::test]
async fn m1_an_empty_question_is_refused() {
    let served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    assert_eq!(client.unary(MANAGE, &[], &[]).await.code(), Some(Code::InvalidArgument));
    let connection = served.connect(None).await;
    let beat = connection.manage(ManageRequest::Heartbeat).await;
    assert!(matches!(beat, Ok(ManageResponse::Heartbeat(metrics)) if metrics["beat"] == "1"));
    let shutdown = ManageRequest::Shutdown { reason: None, cancel_sessions: false };
    let answer = connection.manage(shutdown).await;
    assert_eq!(answer, Ok(ManageResponse::Shutdown { sessions_settled: true }));
}

/// M3, M5: health knows the worker and its service, and says when it takes nothing more.
#[tokio::test]
async fn m3_m5_health_answers() {
    let served = Served::start(small()).await;
    let connection = served.connect(None).await;
    for service in ["", SERVICE] {
        assert_eq!(health(&connection, service).await, Ok(ServingStatus::Serving));
    }
    assert_eq!(health(&connection, "no.such.Service").await, Err(Code::NotFound));
    served.handle.not_serving().await;
    for service in ["", SERVICE] {
        assert_eq!(health(&connection, service).await, Ok(ServingStatus::NotServing));
    }
}

/// M5: reflection lists the services and has the file that defines ours.
#[tokio::test]
async fn m5_reflection_answers() {
    use server_reflection_request::MessageRequest;
    use server_reflection_response::MessageResponse;

    let served = Served::start(small()).await;
    let ask = async |question| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
        let mut client = ServerReflectionClient::with_origin(served.connect(None).await, origin());
        let answers = client.server_reflection_info(stream::iter([request])).await.expect("it is served");
        let answer = answers.into_inner().next().await.expect("there is an answer").expect("it is a good one");
        answer.message_response.expect("it says something")
    };
    match ask(MessageRequest::ListServices(String::new())).await {
        MessageResponse::ListServicesResponse(list) => {
            let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
            assert!(names.contains(&SERVICE) && names.contains(&"grpc.health.v1.Health"), "{names:?}");
        }
        other => panic!("no list: {other:?}"),
    }
    match ask(MessageRequest::FileContainingSymbol(SERVICE.into())).await {
        MessageResponse::FileDescriptorResponse(files) => assert!(!files.file_descriptor_proto.is_empty()),
        other => panic!("no file: {other:?}"),
    }
}

/// R14: what is no gRPC is told so in HTTP, and what is no method of ours in gRPC.
#[tokio::test]
async fn r14_other_calls_are_refused() {
    let served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let answer = client.unary(EXECUTE, &[("content-type", "application/json")], &[]).await;
    assert_eq!(answer.http, http::StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for path in ["/org.apache.spark.udf.worker.UdfWorker/NoSuch", "/no.such.Service/Execute", "/"] {
        assert_eq!(client.unary(path, &[], &[]).await.code(), Some(Code::Unimplemented), "{path}");
    }
}

/// P6: a stale socket is replaced, a live one and other files are left alone, and each is told apart.
#[tokio::test]
async fn p6_only_a_stale_socket_is_replaced() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("w");
    let endpoint = Endpoint::Unix(path.clone());

    drop(std_unix::UnixListener::bind(&path).expect("a fresh socket"));
    assert!(path.exists(), "an earlier life has left it");
    let listener = Listener::bind(&endpoint).await.expect("nobody listens there");

    let live = Listener::bind(&endpoint).await.expect_err("somebody listens there");
    assert_eq!(live.kind(), std::io::ErrorKind::AddrInUse);
    assert!(live.to_string().contains("another worker listens there"), "{live}");
    assert!(path.exists(), "the live one is left alone");

    drop(listener);
    assert!(!path.exists(), "a socket goes with its listener");

    fs::write(&path, "precious").expect("the directory can be written");
    let file = Listener::bind(&endpoint).await.expect_err("that is no socket");
    assert!(file.to_string().contains("no socket"), "{file}");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
}

/// P6: a listener whose socket somebody else has replaced removes nothing when it ends.
#[tokio::test]
async fn p6_another_ones_socket_is_not_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("w");
    let first = Listener::bind(&Endpoint::Unix(path.clone())).await.expect("a fresh socket");
    // Kept under another name, so that its inode is not given to the next one.
    fs::rename(&path, directory.path().join("old")).expect("it is ours");
    let second = Listener::bind(&Endpoint::Unix(path.clone())).await.expect("the name is free");
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

/// P9: only the owner may open the socket.
#[tokio::test]
async fn p9_a_socket_has_mode_0600() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("w");
    let _listener = Listener::bind(&Endpoint::Unix(path.clone())).await.expect("a fresh socket");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
}

/// P2: a port is served on both loopbacks, and a taken one is an error that names it.
#[tokio::test]
async fn p2_a_port_is_served_on_both_loopbacks() {
    let has_v6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    // A port that is free now may be taken by somebody a moment later; then another one is tried.
    let (listener, port) = loop {
        let probe = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a loopback");
        let port = probe.local_addr().expect("it is bound").port();
        let taken = Listener::bind(&Endpoint::Tcp(port)).await.expect_err("the probe has it");
        assert!(taken.to_string().contains(&port.to_string()), "{taken}");
        drop(probe);
        if let Ok(listener) = Listener::bind(&Endpoint::Tcp(port)).await {
            break (listener, port);
        }
    };
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::on(listener, Endpoint::Tcp(port), directory, small(), None).await;
    served.connect(None).await.manage(ManageRequest::Heartbeat).await.expect("it is served");
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("it listens");
    assert!(!has_v6 || TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.is_ok(), "it listens there too");
}

/// R14: who connects and says nothing, or speaks something else, disturbs nobody.
#[tokio::test]
async fn r14_silent_and_foreign_callers_disturb_nobody() {
    let served = Served::start(small()).await;
    let silent = served.stream().await;
    let mut foreign = served.stream().await;
    foreign.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it is connected");
    let mut rest = Vec::new();
    // A reset is as good an end as a close.
    let _ = soon("the foreign caller is hung up on", foreign.read_to_end(&mut rest)).await;
    let connection = served.connect(None).await;
    connection.manage(ManageRequest::Heartbeat).await.expect("it is served");
    drop(silent);
    connection.manage(ManageRequest::Heartbeat).await.expect("it is served");
}

/// M3: stopping flushes what was answered, lets nobody in, and ends though somebody says nothing.
#[tokio::test]
async fn m3_stop_flushes_what_was_answered() {
    const STREAMS: usize = 20;
    let mut served = Served::start(small()).await;
    let mut client = Client::with(&served, |builder| {
        builder.initial_connection_window_size(8 << 20);
    })
    .await;
    let _silent = served.stream().await;
    let mut responses = Vec::new();
    let mut roles = Vec::new();
    for at in 0..STREAMS {
        let (mut send, response) = client.execute().await;
        send.send_data(Bytes::new(), true).expect("the stream is there");
        let mut strings = served.arrival().await;
        strings.say(Response::Data(pattern(50_000, at)));
        strings.end(Ending::Close(Status::ok()));
        while strings.event().await.is_some() {}
        responses.push(response);
        roles.push(strings);
    }
    served.handle.stop();
    for (at, response) in responses.into_iter().enumerate() {
        let answer = Answer::read(response).await;
        assert_eq!(answer.code(), Some(Code::Ok));
        assert!(messages(&answer.body) == [Response::Data(pattern(50_000, at))]);
    }
    soon("the server ends", &mut served.serving).await.expect("it does not panic");
    soon("the connection ends", &mut client.connection).await.expect("it does not panic").expect("in peace");
    let Endpoint::Unix(path) = &served.endpoint else { panic!("it listened on a Unix socket") };
    assert!(!path.exists(), "the socket goes with the server");
    let refused = Connection::connect(&served.endpoint, &Settings::default(), None).await;
    assert_eq!(refused.expect_err("nobody listens").code(), Code::Unavailable);
}

/// E5, M6: an engine that announced `stream_windows` never sees its windows shrink, however many executions seem to be on
/// its connection: it may wait for more room than would be left. Any other's do shrink.
#[tokio::test]
async fn e5_m6_windows_shrink_only_under_a_crowd_of_strangers() {
    let announced = &[("anyudf-features", "stream_windows")][..];
    let settings = Settings { crowd: 4, crowded_window: 128 << 10, ..small() };
    let (full, crowded) = (settings.stream_window as usize, settings.crowded_window as usize);
    for (first, others, expected) in [(announced, announced, full), (announced, &[], full), (&[], &[], crowded)] {
        let mut served = Served::start(settings.clone()).await;
        let mut client = Client::connect(&served).await;
        let mut calls = Vec::new();
        for at in 0..6 {
            let call = client.call(EXECUTE, if at == 0 { first } else { others }).await;
            calls.push((call, served.arrival().await));
        }
        client.round_trips().await;
        let ((send, _), _) = &mut calls[0];
        send.reserve_capacity(full);
        assert_eq!(send.capacity(), expected);
    }
}
