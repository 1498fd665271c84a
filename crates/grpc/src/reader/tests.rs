//! The accounting of a stream's window, seen from inside: what is left used when nobody holds anything.

use std::future::poll_fn;
use std::io::Write as _;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use anyudf_protocol::Request;
use flate2::Compression;
use flate2::write::GzEncoder;
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

    /// What comes next, if it is there.
    fn poll(&mut self) -> Option<Read<Request>> {
        poll_fn(|cx| self.reader.poll(cx)).now_or_never()
    }

    /// The next message, if one is there.
    fn message(&mut self) -> Option<(Request, Credit)> {
        match self.poll()? {
            Read::Message(message, credit) => Some((message, credit)),
            other => panic!("no message: {other:?}"),
        }
    }

    /// The credit of the next message, if one is there.
    fn read(&mut self) -> Option<Credit> {
        self.message().map(|(_, credit)| credit)
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

/// The most messages that may be unread.
fn most(settings: &Settings) -> usize {
    settings.stream_window as usize / Credit::OVERHEAD + 1
}

/// E5: what messages take beside their bytes is bounded too: of a flood of empty ones no more are unread than fit the
/// bound, the others wait as bytes, and all come in order when the first are taken.
#[tokio::test]
async fn e5_empty_messages_are_bounded() {
    let settings = small();
    for cut in [7, 5, 1_000, 16_384] {
        let mut line = Line::open(&settings).await;
        let lengths = || (0..13_000).map(|at| usize::from(at % 100 == 0));
        let mut bytes = requests(lengths());
        let all = bytes.len();
        line.push(&mut bytes, &mut std::iter::repeat(cut)).await;
        assert_eq!(bytes.len(), 0, "the window is larger");
        let mut expected = lengths();
        let mut taken = 0;
        while taken < 13_000 {
            let held: Vec<_> = std::iter::from_fn(|| line.message()).collect();
            assert!((1..=most(&settings)).contains(&held.len()), "frames of {cut}: {} are unread", held.len());
            taken += held.len();
            for (message, _) in &held {
                let Request::Data(data) = message else { panic!("it is data") };
                assert_eq!(Some(data.len()), expected.next());
            }
            assert!(line.used() > 0 && line.used() <= all);
        }
        assert_eq!((taken, line.used()), (13_000, 0), "frames of {cut}");
    }
}

/// E5, E9: Cancel is heard before what waits as bytes, and again in its turn; so is a reset.
#[tokio::test]
async fn e5_e9_cancel_is_heard_before_what_waits_as_bytes() {
    for cut in [3, 16_384] {
        let mut line = Line::open(&small()).await;
        let mut cancel = Outgoing::from(Request::Cancel(Some("enough".into())));
        let cancel = cancel.copy_to_bytes(cancel.remaining());
        line.push(&mut requests([0; 5_000]), &mut std::iter::repeat(cut)).await;
        let mut held: Vec<_> = std::iter::from_fn(|| line.message()).collect();
        assert_eq!(held.len(), most(&small()));
        line.push(&mut cancel.clone(), &mut std::iter::repeat(cut)).await;
        assert!(matches!(line.message(), Some((Request::Cancel(Some(reason)), _)) if reason == "enough"));
        assert!(line.poll().is_none(), "once");
        let mut rest = 0;
        while !held.is_empty() {
            rest += held.len();
            // Taken before more is asked for.
            held.clear();
            held = std::iter::from_fn(|| line.message()).collect();
        }
        assert_eq!((rest, line.used()), (5_001, 0));

        let mut line = Line::open(&small()).await;
        line.push(&mut requests([0; 5_000]), &mut std::iter::repeat(cut)).await;
        let held: Vec<_> = std::iter::from_fn(|| line.message()).collect();
        line.send.send_reset(h2::Reason::CANCEL);
        line.round_trip().await;
        assert!(matches!(line.poll(), Some(Read::Broken(status)) if status.code() == Code::Cancelled));
        drop(held);
    }
}

/// E5: at the end of a turn nothing is left in HTTP/2's own buffer of a flood of tiny messages; they come in their order,
/// Cancel ahead of them and in its turn. Larger messages are left where they are.
#[tokio::test]
async fn e5_e9_what_a_turn_leaves_is_kept_as_bytes() {
    let idle = || Context::from_waker(futures::task::noop_waker_ref());
    for cut in [3, 7, 16_384] {
        let mut line = Line::open(&small()).await;
        let mut cancel = Outgoing::from(Request::Cancel(None));
        let cancel = cancel.copy_to_bytes(cancel.remaining());
        let lengths = || (0..200).map(|at| at % 7);
        line.push(&mut [requests(lengths()), cancel].concat().into(), &mut std::iter::repeat(cut)).await;
        let mut read = Vec::new();
        read.push(line.message().expect("it came").0);
        // One that has begun is finished first.
        while line.reader.partial.is_some() {
            read.push(line.message().expect("it came").0);
        }
        line.reader.gather::<Request>(&mut idle());
        assert!(line.reader.stream.poll_data(&mut idle()).is_pending(), "frames of {cut}");
        assert!(matches!(line.message(), Some((Request::Cancel(None), _))), "frames of {cut}");
        read.extend(std::iter::from_fn(|| line.message()).map(|(message, _)| message));
        assert!(matches!(read.pop(), Some(Request::Cancel(None))), "frames of {cut}");
        let read = read.into_iter().map(|message| match message {
            Request::Data(data) => data.len(),
            other => panic!("{other:?} is no data"),
        });
        assert!(read.eq(lengths()), "frames of {cut}");
        assert_eq!(line.used(), 0);
    }
    let mut line = Line::open(&small()).await;
    line.push(&mut requests([1_000; 20]), &mut std::iter::repeat(1_100)).await;
    line.read().expect("it came");
    line.reader.gather::<Request>(&mut idle());
    assert!(line.reader.stream.poll_data(&mut idle()).is_ready(), "nothing was taken out");
}

/// The same message compressed.
fn compressed(mut message: Outgoing) -> Bytes {
    message.advance(PREFIX);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&message.copy_to_bytes(message.remaining())).expect("memory");
    let message = encoder.finish().expect("memory");
    [&[1], &(message.len() as u32).to_be_bytes()[..], &message].concat().into()
}

/// E5, E9, P11: Cancel is heard before what waits as bytes on a stream that compresses everything, too.
#[tokio::test]
async fn e5_e9_p11_a_compressed_cancel_is_heard_before_what_waits_as_bytes() {
    for cut in [3, 16_384] {
        let mut line = Line::open(&small()).await;
        line.reader.gzip = true;
        let data = || compressed(Outgoing::data([Bytes::from(vec![7; 200_000])]));
        line.push(&mut [data(), data(), data()].concat().into(), &mut std::iter::repeat(cut)).await;
        let held = line.read().expect("it came first");
        assert!(line.poll().is_none(), "the next one waits until this one is taken");
        let mut cancel = compressed(Outgoing::from(Request::Cancel(Some("enough".into()))));
        line.push(&mut cancel, &mut std::iter::repeat(cut)).await;
        assert!(matches!(line.message(), Some((Request::Cancel(Some(reason)), _)) if reason == "enough"));
        assert!(line.poll().is_none(), "once");
        drop(held);
        for _ in 0..2 {
            assert!(matches!(line.message(), Some((Request::Data(data), _)) if data.len() == 200_000));
        }
        assert!(matches!(line.message(), Some((Request::Cancel(_), _))), "in its turn");
        assert_eq!(line.used(), 0);
    }
}

/// E5, E9: Cancel is heard although it came in one frame with the messages that fill the bound, and then in its turn only.
#[tokio::test]
async fn e5_e9_cancel_is_heard_in_the_frame_that_fills_the_bound() {
    let most = most(&small());
    for (cut, behind) in [(3, 10), (16_384, 10), (16_384, 3 * most)] {
        let mut line = Line::open(&small()).await;
        let mut cancel = Outgoing::from(Request::Cancel(None));
        let cancel = cancel.copy_to_bytes(cancel.remaining());
        let requests = requests(std::iter::repeat_n(0, most + behind));
        line.push(&mut [requests, cancel].concat().into(), &mut std::iter::repeat(cut)).await;
        let held: Vec<_> = std::iter::from_fn(|| line.message()).collect();
        assert_eq!(held.len(), most + 1, "frames of {cut}");
        assert!(matches!(held.last(), Some((Request::Cancel(_), _))));
        drop(held);
        let mut rest = Vec::new();
        while rest.len() <= behind {
            let held: Vec<_> = std::iter::from_fn(|| line.message()).collect();
            assert!(!held.is_empty(), "{} of {behind} came", rest.len());
            rest.extend(held.into_iter().map(|(message, _)| message));
        }
        let at: Vec<_> = (0..rest.len()).filter(|&at| matches!(rest[at], Request::Cancel(_))).collect();
        assert_eq!((at, line.used()), (vec![behind], 0), "frames of {cut}");
    }
}

/// E9: a stream that discards has no such bound: what waited as bytes comes, whoever holds what came before.
#[tokio::test]
async fn e9_a_full_reader_that_discards_reads_on() {
    let mut line = Line::open(&small()).await;
    line.push(&mut requests([0; 5_000]), &mut std::iter::repeat(700)).await;
    let mut held: Vec<_> = std::iter::from_fn(|| line.message()).collect();
    assert_eq!(held.len(), most(&small()));
    line.reader.discard();
    held.extend(std::iter::from_fn(|| line.message()));
    assert_eq!((held.len(), line.used()), (5_000, 0));
}

/// Counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// E5: whoever waits for messages is woken when enough were taken, and not before.
#[tokio::test]
async fn e5_a_full_reader_is_woken() {
    let settings = small();
    let mut line = Line::open(&settings).await;
    line.push(&mut requests([0; 5_000]), &mut std::iter::repeat(700)).await;
    let wakes = Arc::new(Wakes::default());
    let waker = Arc::clone(&wakes).into();
    let mut held = Vec::new();
    let mut cx = Context::from_waker(&waker);
    while let Poll::Ready(Read::Message::<Request>(_, credit)) = line.reader.poll(&mut cx) {
        held.push(credit);
    }
    held.truncate(most(&settings) / 2 + 2);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "half of it is still unread");
    held.clear();
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "once");
}
