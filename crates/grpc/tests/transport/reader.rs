//! What arrives: messages whole and in order, memory bounded, nonsense told apart.

use std::io::Write as _;

use anyudf_grpc::{Code, Credit, Event, Outgoing, Settings};
use anyudf_protocol::{Request, Rule, wire};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use h2::SendStream;
use proptest::prelude::*;
use prost::Message;

use crate::peer::*;

/// Sends `bytes` in DATA frames of at most these lengths, over and over.
fn send_cut(send: &mut SendStream<Bytes>, mut bytes: Bytes, cuts: &[usize]) {
    for &cut in cuts.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        send.send_data(bytes.split_to(cut.min(bytes.len())), false).expect("the stream is there");
    }
}

/// Sends messages of these lengths cut like this, and expects them at the role.
async fn arrive(settings: Settings, lengths: &[usize], cuts: &[usize]) {
    let mut served = Served::start(settings).await;
    let mut client = Client::connect(&served).await;
    let (mut send, _response) = client.execute().await;
    let mut strings = served.arrival().await;
    let sent: Vec<_> = lengths.iter().enumerate().map(|(at, &len)| pattern(len, at)).collect();
    let bytes: Vec<u8> = sent.iter().flat_map(|data| request(data.clone())).collect();
    send_cut(&mut send, bytes.into(), cuts);
    send.send_data(Bytes::new(), true).expect("the stream is there");
    for (at, data) in sent.iter().enumerate() {
        let Request::Data(came) = strings.message().await else { panic!("message {at} is no data") };
        assert!(came == data, "message {at} of {} bytes came as {} others", data.len(), came.len());
    }
    assert!(matches!(strings.event().await, Some(Event::Ended(status)) if status.is_ok()));
}

/// R6: messages of every size come whole and in order, also such as are larger than the window.
#[tokio::test]
async fn r6_messages_of_every_size_arrive() {
    let mut lengths = vec![0, 1, 16 << 10, 5 << 20, 0, 127, 128];
    lengths.extend((0..2_000).map(|at| at % 90));
    arrive(Settings::default(), &lengths, &[16 << 10]).await;
    arrive(small(), &lengths, &[16 << 10]).await;
    arrive(small(), &lengths, &[7_001]).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// R6: however DATA frames cut them, prefix and envelope included.
    #[test]
    fn r6_frames_may_cut_anywhere(
        lengths in prop::collection::vec(prop_oneof![4 => 0_usize..300, 2 => 4_000_usize..20_000, 1 => 60_000_usize..400_000], 1..12),
        cuts in prop::collection::vec(prop_oneof![2 => 1_usize..12, 2 => 100_usize..9_000, 1 => 9_000_usize..100_000], 1..9),
    ) {
        let most = lengths.iter().sum::<usize>() / cuts.iter().sum::<usize>() * cuts.len();
        prop_assume!(most < 20_000);
        let settings = Settings { stream_window: 64 << 10, ..small() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(arrive(settings, &lengths, &cuts));
    }
}

/// C9: data put together from several frames begins where Arrow likes it: at a multiple of 64 bytes, or as far behind
/// one as the sender of a head of ten bytes reckons with.
#[tokio::test]
async fn c9_assembled_data_is_aligned() {
    let mut served = Served::start(Settings::default()).await;
    let mut client = Client::connect(&served).await;
    let (mut send, _response) = client.execute().await;
    let mut strings = served.arrival().await;
    for (len, place) in [(40_000, 0), (100_001, 0), (3 << 20, Outgoing::LEAD % 64)] {
        send_cut(&mut send, request(pattern(len, 0)), &[16_000]);
        let Request::Data(data) = strings.message().await else { panic!("it is data") };
        assert_eq!((data.len(), data.as_ptr() as usize % 64), (len, place));
    }
}

/// E5: what a flooding peer can push while the consumer takes nothing is the window, and with messages larger than the
/// window one of them besides; and of messages that are nearly nothing no more than take as much memory as the window.
/// Everything resumes when the consumer takes.
#[tokio::test]
async fn e5_a_flood_is_bounded_and_resumes() {
    let settings = small();
    let window = settings.stream_window as usize;
    for (len, beyond) in [(0, 0), (1, 0), (100, 0), (16 << 10, 0), (window, window + 64), (5 * window, 5 * window + 64)]
    {
        let mut served = Served::start(settings.clone()).await;
        let mut client = Client::with(&served, |builder| {
            builder.max_send_buffer_size(4 << 20);
        })
        .await;
        let (mut send, _response) = client.execute().await;
        let mut strings = served.arrival().await;
        let mut flood = Flood::of(request(pattern(len, 0)));
        let mut taken = 0;
        for round in 0..4 {
            flood.rise(&mut client, &mut send).await;
            let held = strings.pending();
            assert!(flood.sent <= taken + window + beyond, "{len} bytes: {} went in round {round}", flood.sent);
            assert!(held.len() <= window / Credit::OVERHEAD + 1, "{len} bytes: {} messages are unread", held.len());
            assert!(!held.is_empty(), "{len} bytes: nothing arrived in round {round}");
            taken += held.len() * request(pattern(len, 0)).len();
            // With the events go their credits.
        }
    }
}

/// E5, M2: a stream that stands still stops neither its neighbour nor Manage.
#[tokio::test]
async fn e5_m2_a_stalled_stream_stops_no_other() {
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (mut stalled, _first) = client.execute().await;
    let held = served.arrival().await;
    Flood::of(request(pattern(10_000, 0))).rise(&mut client, &mut stalled).await;
    let (mut send, _second) = client.execute().await;
    let mut strings = served.arrival().await;
    send.send_data(request(pattern(1 << 20, 1)), false).expect("the stream is there");
    assert!(strings.message().await == Request::Data(pattern(1 << 20, 1)));
    let heartbeat = wire::WorkerRequest::from(anyudf_protocol::ManageRequest::Heartbeat).encode_to_vec();
    assert_eq!(client.unary(MANAGE, &[], &heartbeat).await.code(), Some(Code::Ok));
    drop(held);
}

/// Bytes on a stream, and the status that comes of it.
struct Nonsense {
    what: &'static str,
    encoding: Option<&'static str>,
    bytes: Bytes,
    closed: bool,
    code: Code,
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// R14, P7, P11: each kind of nonsense is a broken stream with its own status, for the role and for the peer.
#[tokio::test]
async fn r14_p7_p11_nonsense_has_a_status() {
    let message = wire::UdfRequest::from(Request::Finish).encode_to_vec();
    let bomb = gzip(&vec![0; 9 << 20]);
    let of = |what, bytes, code| Nonsense { what, encoding: None, bytes, closed: false, code };
    let cases = [
        of("garbage", framed(0, &[0xff; 40]), Code::Internal),
        of("flag 2", framed(2, &message), Code::Internal),
        of("flag 255", framed(255, &message), Code::Internal),
        of("compressed without an encoding", framed(1, &gzip(&message)), Code::Internal),
        of("over the limit", Bytes::from_static(&[0, 0, 0x80, 0, 1]), Code::ResourceExhausted),
        of("over every limit", Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1]), Code::ResourceExhausted),
        Nonsense { closed: true, ..of("ended within a prefix", Bytes::from_static(&[0, 0]), Code::Internal) },
        Nonsense { closed: true, ..of("ended within a message", framed(0, &[0; 9]).slice(..9), Code::Internal) },
        Nonsense { encoding: Some("gzip"), ..of("no gzip", framed(1, b"no gzip at all"), Code::Internal) },
        Nonsense { encoding: Some("gzip"), ..of("half a gzip", framed(1, &bomb[..90]), Code::Internal) },
        Nonsense { encoding: Some("gzip"), ..of("a bomb", framed(1, &bomb), Code::ResourceExhausted) },
    ];
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    for Nonsense { what, encoding, bytes, closed, code } in cases {
        let headers: Vec<_> = encoding.map(|encoding| ("grpc-encoding", encoding)).into_iter().collect();
        let (mut send, response) = client.call(EXECUTE, &headers).await;
        let mut strings = served.arrival().await;
        send.send_data(bytes, closed).expect("the stream is there");
        assert_eq!(strings.broken().await.code(), code, "{what}");
        assert_eq!(Answer::read(response).await.code(), Some(code), "{what}");
    }
}

/// R16: what decodes and says nothing is a violation, and the stream goes on.
#[tokio::test]
async fn r16_an_empty_message_is_a_violation() {
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (mut send, _response) = client.execute().await;
    let mut strings = served.arrival().await;
    send.send_data(framed(0, &[]), false).expect("the stream is there");
    match strings.event().await {
        Some(Event::Violation(violation)) => assert_eq!(violation.rule(), Rule::R16),
        other => panic!("no violation: {other:?}"),
    }
    send.send_data(request("next"), false).expect("the stream is there");
    assert_eq!(strings.message().await, Request::Data("next".into()));
}

/// P11: gzip is understood, message by message; what is not compressed passes on the same stream.
#[tokio::test]
async fn p11_gzip_is_understood() {
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (mut send, _response) = client.call(EXECUTE, &[("grpc-encoding", "gzip")]).await;
    let mut strings = served.arrival().await;
    for len in [0, 1, 100_000, 3 << 20] {
        let message = wire::UdfRequest::from(Request::Data(pattern(len, 1))).encode_to_vec();
        send.send_data(framed(1, &gzip(&message)), false).expect("the stream is there");
        send.send_data(framed(0, &message), false).expect("the stream is there");
        for _ in 0..2 {
            assert!(strings.message().await == Request::Data(pattern(len, 1)), "{len} bytes");
        }
    }
}

/// P11, E5: small messages that inflate to large ones come one at a time when the consumer takes nothing.
#[tokio::test]
async fn p11_inflated_bytes_are_bounded_too() {
    let mut served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (mut send, _response) = client.call(EXECUTE, &[("grpc-encoding", "gzip")]).await;
    let mut strings = served.arrival().await;
    let message = wire::UdfRequest::from(Request::Data(vec![0; 1 << 20].into())).encode_to_vec();
    for _ in 0..10 {
        send.send_data(framed(1, &gzip(&message)), false).expect("the stream is there");
    }
    for at in 0..10 {
        let held = strings.event().await;
        assert!(matches!(held, Some(Event::Message(..))), "message {at}: {held:?}");
        client.round_trips().await;
        assert!(strings.pending().is_empty(), "the next one waits until this one is taken");
    }
}

/// P11: another encoding is UNIMPLEMENTED, and the answer names what is understood.
#[tokio::test]
async fn p11_an_unknown_encoding_is_unimplemented() {
    let served = Served::start(small()).await;
    let mut client = Client::connect(&served).await;
    let (_send, response) = client.call(EXECUTE, &[("grpc-encoding", "zstd")]).await;
    let answer = Answer::read(response).await;
    assert_eq!(answer.code(), Some(Code::Unimplemented));
    assert_eq!(answer.headers["grpc-accept-encoding"], "identity,gzip");
}
