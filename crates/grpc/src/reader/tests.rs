//! The accounting of a stream's window, seen from inside: what is left used when nobody holds anything.

use std::future::poll_fn;

use anyudf_protocol::Request;
use futures::FutureExt;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{PingPong, SendStream};
use tokio::sync::mpsc;

use super::*;

/// A raw client's stream, and the reader of it.
struct Line {
    send: SendStream<Bytes>,
    ping: PingPong,
    reader: Reader,
    _open: (SendRequest<Bytes>, SendResponse<Bytes>),
}

impl Line {
    async fn open(settings: &Settings) -> Self {
        let (near, far) = tokio::io::duplex(64 << 10);
        let mut builder = h2::server::Builder::new();
        builder
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window)
            .max_frame_size(settings.max_frame);
        let (server, client) = tokio::join!(builder.handshake(far), h2::client::handshake(near));
        let (mut server, (mut requests, mut client)) = (server.expect("it is HTTP/2"), client.expect("it is HTTP/2"));
        let ping = client.ping_pong().expect("it is asked for once");
        tokio::spawn(client);
        let (tell, mut calls) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(call)) = server.accept().await {
                // Fails only when the test is over.
                let _ = tell.send(call);
            }
        });
        let request = http::Request::post("http://localhost/").body(()).expect("a good request");
        let (_, send) = requests.send_request(request, false).expect("the connection is there");
        let (call, respond) = calls.recv().await.expect("it arrives");
        let reader = Reader::new(call.into_body(), false, settings);
        let mut line = Line { send, ping, reader, _open: (requests, respond) };
        line.round_trip().await;
        line
    }

    /// After it everything that was sent lies at the reader's side.
    async fn round_trip(&mut self) {
        self.ping.ping(h2::Ping::opaque()).await.expect("the connection is there");
    }

    /// Sends as much of `bytes` as there is room for, in frames of these lengths, over and over. Says how much went.
    async fn push(&mut self, bytes: &mut Bytes, cuts: &mut impl Iterator<Item = usize>) -> usize {
        let before = bytes.len();
        self.send.reserve_capacity(bytes.len());
        self.round_trip().await;
        while !bytes.is_empty() && self.send.capacity() > 0 {
            let cut = cuts.next().expect("they go on").min(bytes.len()).min(self.send.capacity());
            self.send.send_data(bytes.split_to(cut), false).expect("the stream is there");
            self.send.reserve_capacity(bytes.len());
        }
        self.round_trip().await;
        before - bytes.len()
    }

    /// The next message, if one is there.
    fn read(&mut self) -> Option<Credit> {
        match poll_fn(|cx| self.reader.poll::<Request>(cx)).now_or_never() {
            Some(Read::Message(_, credit)) => Some(credit),
            Some(other) => panic!("no message: {other:?}"),
            None => None,
        }
    }

    /// What the window counts as not given back.
    fn used(&mut self) -> usize {
        self.reader.stream.flow_control().used_capacity()
    }
}

/// DataRequests of these lengths, as they lie on the wire.
fn requests(lengths: impl IntoIterator<Item = usize>) -> Bytes {
    let mut bytes = BytesMut::new();
    for len in lengths {
        let mut message = Outgoing::data([Bytes::from(vec![7; len])]);
        bytes.extend_from_slice(&message.copy_to_bytes(message.remaining()));
    }
    bytes.freeze()
}

fn small() -> Settings {
    Settings { stream_window: 100_000, max_frame: 64 << 10, ..Settings::default() }
}

/// E9: a stream that discards gives back what arrives, once: a peer gets many windows through, whatever lay unread or
/// half read when it began, however frames and messages are cut, and whenever credits come back.
#[tokio::test]
async fn e9_discarding_gives_every_byte_back_once() {
    const WINDOWS: usize = 20;
    for drained in [false, true] {
        for (before, cuts) in [
            (0, &[1, 60_000, 40_000][..]),
            (3, &[7, 1_000, 13, 20_000, 9]),
            (5, &[50_000, 1, 30_000, 65_000]),
            (1, &[2_000, 3]),
        ] {
            let settings = small();
            let window = settings.stream_window as usize;
            let mut line = Line::open(&settings).await;
            let mut bytes = requests((0..).map(|at| at * 7_919 % 30_000).scan(0, |sum, len| {
                *sum += len;
                (*sum < WINDOWS * window).then_some(len)
            }));
            let mut cuts = cuts.iter().copied().cycle();
            // Some is taken and held, some is half a message, some lies unread.
            let mut some = bytes.split_to(window * 2 / 5);
            line.push(&mut some, &mut cuts).await;
            let mut held: Vec<_> = (0..before).map_while(|_| line.read()).collect();
            line.push(&mut bytes.split_to(cuts.next().expect("they go on") % 9_000), &mut cuts).await;
            line.reader.discard();
            while !bytes.is_empty() {
                let went = line.push(&mut bytes, &mut cuts).await;
                assert_ne!(went, 0, "{} bytes stand still, {} of the window are lost", bytes.len(), line.used());
                held.pop();
                match drained {
                    true => assert!(poll_fn(|cx| line.reader.poll_drain(cx)).now_or_never().is_none()),
                    false => while line.read().is_some() {},
                }
            }
            assert_eq!(line.used(), 0, "of the window is lost; drained: {drained}");
        }
    }
}

/// E5: what was read stays used until it is taken, and then to the last byte no longer.
#[tokio::test]
async fn e5_what_was_taken_is_given_back() {
    let mut line = Line::open(&small()).await;
    let mut bytes = requests([10, 0, 40_000, 3, 20_000]);
    let all = bytes.len();
    line.push(&mut bytes, &mut [5, 17_000, 1].into_iter().cycle()).await;
    let held: Vec<_> = std::iter::from_fn(|| line.read()).collect();
    assert_eq!((held.len(), line.used()), (5, all));
    drop(held);
    assert_eq!(line.used(), 0);
}
