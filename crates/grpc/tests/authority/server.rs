//! The layer under h2's own server: what a program behind it sees (P8).

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use anyudf_grpc::AnyAuthority;
use bytes::Bytes;
use h2::RecvStream;
use http::uri::Authority;
use http::{HeaderMap, Request, Response};
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::wire::*;

/// A request as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    authority: Option<Authority>,
    path: String,
    fields: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// Serves the first `count` requests of a script that h2 lets through, in the order of their streams.
async fn serve_script(script: Script, count: usize) -> Vec<Seen> {
    let drained = script.drained();
    serve(AnyAuthority::new(script), count, &drained).await
}

/// Serves the first `count` requests that h2 lets through. Once everything is read, h2 has nothing to wait for, so a
/// request that is missing then was refused.
async fn serve<T: AsyncRead + AsyncWrite + Unpin>(io: T, count: usize, drained: &AtomicBool) -> Vec<Seen> {
    let mut connection = h2::server::handshake(io).await.unwrap();
    let mut reading = JoinSet::new();
    // Replies are kept: dropping one would reset its stream.
    let mut replies = Vec::new();
    for _ in 0..count {
        let accepted = poll_fn(|cx| match connection.poll_accept(cx) {
            Poll::Pending if drained.load(Ordering::Relaxed) => panic!("h2 refused a request"),
            polled => polled,
        });
        let (request, reply) = accepted.await.expect("h2 keeps the connection").expect("h2 keeps the connection");
        replies.push(reply);
        let stream = u32::from(request.body().stream_id());
        reading.spawn(async move { (stream, see(request).await) });
    }
    let mut seen = Vec::new();
    while seen.len() < count {
        tokio::select! {
            read = reading.join_next() => seen.push(read.unwrap().unwrap()),
            more = connection.accept() => assert!(more.is_none(), "a request too many"),
        }
    }
    seen.sort_by_key(|(stream, _)| *stream);
    seen.into_iter().map(|(_, seen)| seen).collect()
}

async fn see(request: Request<RecvStream>) -> Seen {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        body.extend(data);
    }
    Seen {
        authority: head.uri.authority().cloned(),
        path: head.uri.path().into(),
        fields: head.headers,
        body,
        trailers: stream.trailers().await.unwrap(),
    }
}

/// The lengths of the authorities that the server has of some requests, which is all that stays of them.
async fn authorities(bytes: &[u8], cuts: &[usize], count: usize) -> Vec<usize> {
    let seen = serve_script(Script::new(bytes, cuts, End::Silence), count).await;
    seen.iter().map(|seen| seen.authority.as_ref().map_or(0, |authority| authority.as_str().len())).collect()
}

/// The trouble that P8 is about: h2 alone lets such a request never through. The second one, which is fine, comes.
#[tokio::test]
async fn p8_h2_alone_refuses_a_path() {
    let requests = [SOCKET, "localhost"].map(|authority| request(&passing(1, raw(authority))));
    let bytes =
        [hello(), block_frames(END_STREAM, 1, &requests[0], &[]), block_frames(END_STREAM, 3, &requests[1], &[])]
            .concat();
    let script = Script::new(&bytes, &[], End::Silence);
    let drained = script.drained();
    let alone = serve(script, 1, &drained).await;
    assert_eq!(alone[0].authority, Some(Authority::from_static("localhost")));
    assert_eq!(authorities(&bytes, &[], 2).await, [24, 9]);
}

/// P8: the first request spells its authority, text or coded; the second has it by index, and h2's table has what was
/// written there instead.
#[tokio::test]
async fn p8_indexed_again() {
    for value in [raw(SOCKET), coded(SOCKET)] {
        let bytes = [
            hello(),
            block_frames(END_STREAM, 1, &request(&kept(1, value.clone())), &[]),
            block_frames(END_STREAM, 3, &request(&[0xbe]), &[]),
            block_frames(END_STREAM, 5, &request(&secret(62, value.clone())), &[]),
            block_frames(END_STREAM, 7, &request(&passing(0, [coded(":authority"), value].concat())), &[]),
        ]
        .concat();
        assert_eq!(authorities(&bytes, &[], 4).await, [24; 4]);
    }
}

/// P8: data passes unchanged, also such as looks like frames; trailers come after it.
#[tokio::test]
async fn p8_data_and_trailers() {
    let data = block_frames(0, 1, &request(&kept(1, raw(SOCKET))), &[3]);
    let trailers = passing(0, [raw("x-end"), coded(SOCKET)].concat());
    let bytes = [
        hello(),
        block_frames(PADDED, 1, &request(&kept(1, coded(SOCKET))), &[5]),
        frame(DATA, 0, 1, &data),
        frame(DATA, PADDED, 1, &dressed(PADDED, &[9; 5000], 77)),
        block_frames(END_STREAM, 1, &trailers, &[2]),
    ]
    .concat();
    for cuts in [vec![], vec![1000], (0..bytes.len()).collect()] {
        let [seen] = serve_script(Script::new(&bytes, &cuts, End::Silence), 1).await.try_into().unwrap();
        assert_eq!(seen.body, [&data[..], &[9; 5000]].concat());
        assert_eq!(seen.path, "/p");
        assert_eq!(seen.fields["te"], "trailers");
        assert_eq!(seen.trailers.unwrap()["x-end"], SOCKET);
    }
}

/// P8: a block in two frames, cut at every byte, with everything that a HEADERS frame may have; h2 takes each.
#[tokio::test]
async fn p8_h2_takes_every_continuation() {
    let block = request(&kept(1, coded(SOCKET)));
    for flags in [0, PADDED, PRIORITY, PADDED | PRIORITY] {
        for cut in 0..=block.len() {
            let bytes = [
                hello(),
                block_frames(flags | END_STREAM, 1, &block, &[cut]),
                block_frames(flags | END_STREAM, 3, &request(&[0xbe]), &[1]),
            ]
            .concat();
            assert_eq!(authorities(&bytes, &[60], 2).await, [24, 24], "cut at {cut} with flags {flags:#x}");
        }
    }
}

/// P8: h2's own client, on a connection with real back-pressure, gets every byte there and back.
#[tokio::test]
async fn p8_an_ordinary_client_notices_nothing() {
    const BYTES: usize = 3 << 20;
    let (near, far) = tokio::io::duplex(20_000);
    let server = tokio::spawn(async move {
        let mut connection = h2::server::handshake(AnyAuthority::new(far)).await.unwrap();
        while let Some(accepted) = connection.accept().await {
            let (request, mut reply) = accepted.unwrap();
            assert_eq!(request.uri().authority(), Some(&Authority::from_static("example.com:81")));
            tokio::spawn(async move {
                let mut send = reply.send_response(Response::new(()), false).unwrap();
                let seen = see(request).await;
                pour(&mut send, seen.body.into()).await;
            });
        }
    });
    let (mut client, connection) = h2::client::handshake(near).await.unwrap();
    let driver = tokio::spawn(connection);
    for turn in 0..3_u8 {
        let body: Bytes = (0..BYTES).map(|at| (at % 251) as u8 ^ turn).collect();
        let request = Request::post("http://example.com:81/echo").body(()).unwrap();
        client = client.ready().await.unwrap();
        let (response, mut send) = client.send_request(request, false).unwrap();
        pour(&mut send, body.clone()).await;
        let echoed = see(Request::new(response.await.unwrap().into_body())).await;
        assert!(echoed.body == body);
    }
    drop(client);
    driver.await.unwrap().unwrap();
    server.await.unwrap();
}

async fn pour(send: &mut h2::SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let room = poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
        send.send_data(data.split_to(room.min(data.len())), false).unwrap();
    }
    send.send_data(Bytes::new(), true).unwrap();
}

/// P8: over a pipe that splits as it likes.
#[tokio::test]
async fn p8_over_a_narrow_pipe() {
    let bytes = [
        hello(),
        block_frames(0, 1, &request(&kept(1, coded(SOCKET))), &[9]),
        frame(DATA, END_STREAM, 1, &[1; 10_000]),
        block_frames(END_STREAM, 3, &request(&[0xbe]), &[]),
    ]
    .concat();
    let (mut near, far) = tokio::io::duplex(37);
    let (mut from_server, mut to_server) = tokio::io::split(&mut near);
    let mut sink = tokio::io::sink();
    let never = AtomicBool::new(false);
    let seen = tokio::select! {
        seen = serve(AnyAuthority::new(far), 2, &never) => seen,
        _ = async {
            to_server.write_all(&bytes).await.unwrap();
            std::future::pending::<()>().await
        } => unreachable!(),
        _ = tokio::io::copy(&mut from_server, &mut sink) => unreachable!("the server closed first"),
    };
    assert_eq!(seen[0].body, [1; 10_000]);
    assert_eq!(seen[0].authority, seen[1].authority);
}

/// How a field's name is written.
#[derive(Debug, Clone)]
enum NameAs {
    Static,
    Text,
    Coded,
    /// By the n-th entry of the dynamic table with that name, if there is one.
    Entry(usize),
}

/// Whether a field is kept in the table.
#[derive(Debug, Clone, Copy)]
enum Keep {
    Kept,
    Passing,
    Secret,
}

#[derive(Debug, Clone)]
struct Field {
    name: NameAs,
    /// Which of a few names; the authority has its own.
    which: usize,
    keep: Keep,
    bytes: usize,
    huffman: bool,
}

fn fields() -> impl Strategy<Value = Field> {
    let name = prop_oneof![
        Just(NameAs::Static),
        Just(NameAs::Text),
        Just(NameAs::Coded),
        (0_usize..4).prop_map(NameAs::Entry),
        (0_usize..4).prop_map(NameAs::Entry),
    ];
    let keep = prop_oneof![Just(Keep::Kept), Just(Keep::Kept), Just(Keep::Passing), Just(Keep::Secret)];
    let bytes = prop_oneof![1_usize..40, 1_usize..700];
    (name, 0_usize..4, keep, bytes, any::<bool>()).prop_map(|(name, which, keep, bytes, huffman)| Field {
        name,
        which,
        keep,
        bytes,
        huffman,
    })
}

/// A client's side of HPACK with a table as the RFC has it, newest first.
#[derive(Debug)]
struct Client {
    entries: Vec<(String, usize)>,
    limit: usize,
}

impl Client {
    fn resize(&mut self, limit: usize) -> Vec<u8> {
        self.limit = limit;
        self.evict(limit);
        integer(5, 0x20, limit)
    }

    fn evict(&mut self, limit: usize) {
        while self.entries.iter().map(|(_, bytes)| bytes).sum::<usize>() > limit {
            self.entries.pop();
        }
    }

    fn write(&mut self, name: &str, in_static: usize, field: &Field) -> Vec<u8> {
        let text = text_of(field);
        let value = if field.huffman { coded(&text) } else { raw(&text) };
        let same: Vec<usize> = (0..self.entries.len()).filter(|i| self.entries[*i].0 == name).collect();
        let (index, written) = match &field.name {
            NameAs::Static => (in_static, value),
            NameAs::Entry(n) if !same.is_empty() => (62 + same[n % same.len()], value),
            NameAs::Coded => (0, [coded(name), value].concat()),
            NameAs::Text | NameAs::Entry(_) => (0, [raw(name), value].concat()),
        };
        match field.keep {
            Keep::Passing => passing(index, written),
            Keep::Secret => secret(index, written),
            Keep::Kept => {
                let bytes = 32 + name.len() + text.len();
                self.evict(self.limit.saturating_sub(bytes));
                if bytes <= self.limit {
                    self.entries.insert(0, (name.into(), bytes));
                }
                kept(index, written)
            }
        }
    }
}

fn text_of(field: &Field) -> String {
    "%2Frun%2Fuser%2F".chars().cycle().take(field.bytes).collect()
}

const NAMES: [(&str, usize); 4] = [("accept", 19), ("from", 37), ("user-agent", 58), ("x-other", 0)];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// P8: over a long connection, whatever goes into the table and falls out of it, h2 is given valid authorities and
    /// nothing else is touched.
    #[test]
    fn p8_the_table_stays_in_step(
        requests in proptest::collection::vec(
            (fields(), proptest::collection::vec(fields(), 0..6), proptest::option::of(0_usize..=4096)), 1..12),
        cuts in proptest::collection::vec(0_usize..4000, 0..6),
    ) {
        let mut client = Client { entries: Vec::new(), limit: 4096 };
        let mut bytes = hello();
        let mut expected = Vec::new();
        for (i, (authority, rest, limit)) in requests.iter().enumerate() {
            let mut block = limit.map(|limit| client.resize(limit)).unwrap_or_default();
            block.extend([0x83, 0x86, 0x84]);
            block.extend(client.write(":authority", 1, authority));
            let mut fields = HeaderMap::new();
            for field in rest {
                let (name, index) = NAMES[field.which];
                let field = Field { name: match (&field.name, index) {
                    (NameAs::Static, 0) => NameAs::Text,
                    (name, _) => name.clone(),
                }, ..field.clone() };
                block.extend(client.write(name, index, &field));
                fields.append(name, text_of(&field).parse().unwrap());
            }
            bytes.extend(block_frames(END_STREAM, 2 * i as u32 + 1, &block, &cuts));
            expected.push((authority.bytes, fields));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let seen = runtime.block_on(serve_script(Script::new(&bytes, &cuts, End::Silence), requests.len()));
        let seen: Vec<_> =
            seen.into_iter().map(|seen| (seen.authority.unwrap().as_str().len(), seen.fields)).collect();
        prop_assert_eq!(seen, expected);
    }
}
