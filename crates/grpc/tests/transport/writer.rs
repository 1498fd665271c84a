//! What may be sent: nothing begins without room, nobody starves.

use anyudf_grpc::{Ending, Status};
use anyudf_protocol::{CancelResponse, Response};
use futures::FutureExt;
use h2::RecvStream;

use crate::peer::*;

fn cancel() -> Response {
    Response::Cancel(CancelResponse::default())
}

/// Reads without giving any room back until `enough` says so.
async fn read_greedily(stream: &mut RecvStream, enough: impl Fn(&[Response]) -> bool) -> Vec<u8> {
    soon("what fits the window arrives", async {
        let mut body = Vec::new();
        while !enough(&messages(&body)) {
            body.extend_from_slice(&stream.data().await.expect("there is more").expect("the stream is whole"));
        }
        body
    })
    .await
}

/// What has come so far.
fn arrived(stream: &mut RecvStream) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(Some(data)) = stream.data().now_or_never() {
        body.extend_from_slice(&data.expect("the stream is whole"));
    }
    body
}

/// E9: a peer of ours with an ordinary window that takes nothing still gets a control message at once: no data message has
/// begun that it would have to wait behind. Messages above half the window have no such promise.
#[tokio::test]
async fn e9_control_passes_when_the_peer_takes_nothing() {
    for (window, len) in [(1 << 20, 100_000), (1 << 20, 1_000), (8 << 20, 3_900_000), (300 << 10, 200)] {
        let mut served = Served::start(small()).await;
        let mut client = Client::with(&served, |builder| {
            builder.initial_window_size(window).initial_connection_window_size(64 << 20).max_send_buffer_size(64 << 20);
        })
        .await;
        let (_send, response) = client.call(EXECUTE, &[("anyudf-features", "stream_windows")]).await;
        let strings = served.arrival().await;
        let mut stream = soon("headers", response).await.expect("it is accepted").into_body();
        for _ in 0..(2 * window as usize / len) {
            strings.say(Response::Data(pattern(len, 0)));
        }
        client.round_trips().await;
        strings.interrupt(cancel());
        let body = read_greedily(&mut stream, |messages| messages.last() == Some(&cancel())).await;
        assert!(body.len() <= window as usize, "{} bytes went through a window of {window}", body.len());
        assert!(messages(&body).len() > 1, "data came before it");
    }
}

/// E5: windows of 64 KiB, as HTTP/2 has them by default, starve nobody, and large messages get through.
#[tokio::test]
async fn e5_small_windows_are_not_starved() {
    for window in [1, 1_000, 65_535, 200_000, 256 << 10, 300_000] {
        let mut served = Served::start(small()).await;
        let mut client = Client::with(&served, |builder| {
            builder.initial_window_size(window);
        })
        .await;
        let (mut send, response) = client.execute().await;
        let strings = served.arrival().await;
        // Through a window of a byte goes a byte a round trip.
        let lengths: &[usize] = if window == 1 { &[0, 100] } else { &[0, 1, 70_000, 1 << 20, 10, 300_000] };
        lengths.iter().for_each(|&len| strings.say(Response::Data(pattern(len, len))));
        strings.say(cancel());
        strings.end(Ending::Close(Status::ok()));
        let answer = Answer::read(response).await;
        let mut expected: Vec<_> = lengths.iter().map(|&len| Response::Data(pattern(len, len))).collect();
        expected.push(cancel());
        assert!(messages(&answer.body) == expected, "window {window}");
        assert_eq!(answer.code(), Some(anyudf_grpc::Code::Ok));
        send.send_data(Default::default(), true).expect("the stream is there");
    }
}

/// E5: what another stream of the connection left unread, although it has ended, is not in the way of a message that still
/// fits: such a peer may read the one only after the other.
#[tokio::test]
async fn e5_room_that_is_there_is_used_on_a_shared_connection() {
    let window = 1 << 20;
    let mut served = Served::start(small()).await;
    let mut client = Client::with(&served, |builder| {
        builder.initial_window_size(window).initial_connection_window_size(window);
    })
    .await;
    let (_send, response) = client.execute().await;
    let strings = served.arrival().await;
    let mut stream = soon("headers", response).await.expect("it is accepted").into_body();
    let first = Response::Data(pattern(10, 0));
    strings.say(Response::Data(pattern(10, 0)));
    read_greedily(&mut stream, |messages| messages.contains(&first)).await;

    let (mut other, unread) = client.execute().await;
    let mut others = served.arrival().await;
    others.say(Response::Data(pattern(980_000, 1)));
    others.end(Ending::Close(Status::ok()));
    other.send_data(Default::default(), true).expect("the stream is there");
    while others.event().await.is_some() {}
    let _unread = soon("headers", unread).await.expect("it is accepted").into_body();

    let second = [Response::Data(pattern(30_000, 2))];
    strings.say(Response::Data(pattern(30_000, 2)));
    client.round_trips().await;
    assert!(messages(&arrived(&mut stream)) == second, "there was room for it");
}

/// E5: streams that share a small connection window all come to their end, whatever each asks for.
#[tokio::test]
async fn e5_streams_share_a_connections_window() {
    const MESSAGES: usize = 12;
    for (connection, window, streams, len) in [
        (65_535, 1 << 20, 2, 200_000),
        (1 << 20, 1 << 20, 2, 700_000),
        (1 << 20, 1 << 20, 5, 400_000),
        (600_000, 1 << 20, 3, 50_000),
        (4 << 20, 4 << 20, 7, 3 << 20),
    ] {
        let mut served = Served::start(small()).await;
        let mut client = Client::with(&served, |builder| {
            builder.initial_window_size(window).initial_connection_window_size(connection);
        })
        .await;
        let mut reading = tokio::task::JoinSet::new();
        let mut held = Vec::new();
        for _ in 0..streams {
            let (send, response) = client.execute().await;
            let strings = served.arrival().await;
            (0..MESSAGES).for_each(|at| strings.say(Response::Data(pattern(len, at))));
            strings.end(Ending::Close(Status::ok()));
            held.push((send, strings));
            reading.spawn(Answer::read(response));
        }
        while let Some(answer) = reading.join_next().await {
            let answer = answer.unwrap_or_else(|_| panic!("{streams} streams on a window of {connection} stand still"));
            assert_eq!(messages(&answer.body).len(), MESSAGES);
        }
    }
}
