//! The layer alone: which bytes come out of it, when, and where they are put (P8).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use anyudf_grpc::AnyAuthority;
use http::uri::Authority;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::*;

/// A connection with a bit of everything, as sent and as it must be read.
fn everything() -> (Vec<u8>, Vec<u8>) {
    // "localhost." over and over, 24 bytes of it.
    let replaced = "localhost.localhost.loca";
    let request_as =
        |value: &str, flags, stream, cuts: &[usize]| block_frames(flags, stream, &request(&kept(1, raw(value))), cuts);
    let mut wires = [SOCKET, replaced].map(|value| {
        [
            hello(),
            request_as(value, 0, 1, &[]),
            // Data that looks like a frame with a refused authority is data all the same.
            frame(DATA, 0, 1, &request_as(SOCKET, 0, 1, &[])),
            frame(PING, 0, 0, b"pingpong"),
            request_as(value, PADDED | PRIORITY, 3, &[]),
            frame(DATA, END_STREAM, 3, b""),
            request_as(value, END_STREAM | PADDED, 5, &[0, 1, 9, 15, 20]),
            // An authority by index, after one that need not be touched.
            block_frames(END_STREAM, 7, &request(&kept(1, raw("localhost:80"))), &[]),
            block_frames(END_STREAM, 9, &request(&[0xbe]), &[]),
            // Trailers.
            block_frames(END_STREAM, 1, &passing(0, [raw("x-end"), raw(SOCKET)].concat()), &[4]),
            frame(77, 0xff, 0, b"a kind of frame that nobody knows"),
        ]
        .concat()
    });
    let [sent, expected] = &mut wires;
    (std::mem::take(sent), std::mem::take(expected))
}

#[test]
fn p8_only_the_authority_changes() {
    let (sent, expected) = everything();
    assert_eq!(through(&sent), expected);
    assert_eq!(through(&expected), expected, "nothing to do");
}

/// P8: wherever the connection cuts its bytes in two, and however little the reader takes at once.
#[test]
fn p8_every_split_reads_the_same() {
    let (sent, expected) = everything();
    for cut in 0..sent.len() {
        for room in [sent.len(), 64, 3, 1] {
            let (got, end) = read(&sent, &[cut], room, End::Eof);
            assert!(got == expected && end.is_ok(), "cut at {cut}, read by {room}");
        }
    }
    let every_byte: Vec<usize> = (0..sent.len()).collect();
    assert_eq!(read(&sent, &every_byte, 1000, End::Eof).0, expected);
}

/// P8: a coded value cut at every byte by CONTINUATION frames, also by many at once.
#[test]
fn p8_continuation_at_every_byte() {
    let block = request(&kept(1, coded(SOCKET)));
    let whole = through(&[hello(), block_frames(0, 1, &block, &[])].concat());
    let rewritten = &whole[whole.len() - block.len()..];
    assert_ne!(rewritten, block);
    let every_byte: Vec<usize> = (0..=block.len()).collect();
    for cuts in (0..=block.len()).map(|cut| vec![cut]).chain([every_byte]) {
        for flags in [0, PADDED, PRIORITY, PADDED | PRIORITY] {
            let [sent, expected] =
                [&block, rewritten].map(|block| [hello(), block_frames(flags, 1, block, &cuts)].concat());
            assert_eq!(through(&sent), expected, "cut at {cuts:?} with flags {flags:#x}");
        }
    }
}

/// P8: what was held of a block is read before the end or the error.
#[test]
fn p8_a_connection_that_ends_within_a_block_loses_nothing() {
    let sent = [hello(), block_frames(0, 1, &request(&kept(1, raw(SOCKET))), &[7])].concat();
    for len in 0..sent.len() {
        let begun = &sent[..len];
        for cuts in [vec![], vec![len.saturating_sub(1)], (0..len).collect()] {
            let (got, end) = read(begun, &cuts, 1000, End::Eof);
            assert!(got == begun && end.is_ok(), "closed after {len}");
            let (got, end) = read(begun, &cuts, 1000, End::Broken);
            assert!(got == begun, "broken after {len}");
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
    }
}

/// P8: a block beyond the bound passes unread, whether one frame says so or many; the connection goes on.
#[test]
fn p8_a_block_beyond_the_bound_passes() {
    let large = request(&[kept(1, raw(SOCKET)), passing(0, [raw("x"), raw(&"v".repeat(70_000))].concat())].concat());
    let next = |value: &str| block_frames(0, 3, &request(&kept(1, raw(value))), &[]);
    let every_8000: Vec<usize> = (1..9).map(|part| part * 8000).collect();
    for cuts in [&[][..], &[10], &every_8000, &[65_000]] {
        let [sent, expected] = [SOCKET, "localhost.localhost.loca"]
            .map(|value| [hello(), block_frames(0, 1, &large, cuts), next(value)].concat());
        for split in [vec![], vec![50], vec![40, 41, 60_000]] {
            assert!(read(&sent, &split, 16_384, End::Eof).0 == expected, "frames cut at {cuts:?}, read at {split:?}");
        }
    }
}

/// P8: what a block that passed unread put into the table is not known, so an index is not taken for what it was
/// before.
#[test]
fn p8_an_index_after_an_unread_block_names_nothing() {
    let small = kept(0, [raw("x-small"), raw("v")].concat());
    let large = passing(0, [raw("x-large"), raw(&"v".repeat(70_000))].concat());
    let too_large = block_frames(0, 3, &request(&[small.clone(), large].concat()), &[]);
    let ill_padded = frame(HEADERS, PADDED | END_HEADERS, 3, &[vec![200], small].concat());
    for unread in [too_large, ill_padded] {
        let sent = [
            hello(),
            block_frames(0, 1, &request(&kept(1, raw("localhost"))), &[]),
            unread,
            block_frames(0, 5, &request(&passing(62, raw(SOCKET))), &[]),
        ]
        .concat();
        assert!(through(&sent) == sent);
    }
}

/// P8: the bit of a head that means nothing means nothing.
#[test]
fn p8_a_reserved_bit_is_ignored() {
    let first = request(&kept(1, raw(SOCKET)));
    let [plain, odd] = [3, 0x8000_0003]
        .map(|stream| [hello(), frame(HEADERS, 0, 3, &first), frame(CONTINUATION, END_HEADERS, stream, b"")].concat());
    assert_ne!(through(&odd), odd);
    assert_eq!(through(&odd)[..plain.len() - 9], through(&plain)[..plain.len() - 9]);
}

/// P8: a block of nearly the bound is rewritten.
#[test]
fn p8_a_block_within_the_bound_is_rewritten() {
    let block =
        |value| request(&[kept(1, raw(value)), passing(0, [raw("x"), raw(&"v".repeat(65_000))].concat())].concat());
    let [sent, expected] = [SOCKET, "localhost.localhost.loca"]
        .map(|value| [hello(), block_frames(0, 1, &block(value), &[3, 20_000, 40_000])].concat());
    for room in [100_000, 16_384, 50] {
        assert!(read(&sent, &[], room, End::Eof).0 == expected, "read by {room}");
    }
}

/// P8: what is not HTTP/2, or not any more, passes.
#[test]
fn p8_nonsense_passes() {
    let field = request(&kept(1, raw(SOCKET)));
    for sent in [
        b"GET / HTTP/1.1\r\nhost: %2Ftmp\r\n\r\n".to_vec(),
        // Another frame within a block; another stream's continuation; padding that does not fit.
        [hello(), frame(HEADERS, 0, 1, &field), frame(PING, 0, 0, b"pingpong"), frame(CONTINUATION, 4, 1, b"")]
            .concat(),
        [hello(), frame(HEADERS, 0, 1, &field), frame(DATA, END_HEADERS, 1, b"")].concat(),
        [hello(), frame(HEADERS, 0, 1, &field), frame(CONTINUATION, END_HEADERS, 3, b"")].concat(),
        [hello(), frame(HEADERS, PADDED | END_HEADERS, 1, &[&[200], &field[..]].concat())].concat(),
        [hello(), frame(HEADERS, PADDED | END_HEADERS, 1, b"")].concat(),
        [hello(), frame(HEADERS, PRIORITY | END_HEADERS, 1, b"1234")].concat(),
    ] {
        assert_eq!(through(&sent), sent);
        let every_byte: Vec<usize> = (0..sent.len()).collect();
        assert_eq!(read(&sent, &every_byte, 5, End::Eof).0, sent);
    }
}

/// One call to read or write, as the connection below saw it.
#[derive(Debug, PartialEq, Eq)]
enum Called {
    Read { into: usize, room: usize },
    Write(Vec<u8>),
    WriteVectored(Vec<Vec<u8>>),
    Flush,
    Shutdown,
}

/// A connection that writes down how it is called.
#[derive(Default)]
struct Recorder {
    incoming: Vec<u8>,
    is_vectored: bool,
    calls: Vec<Called>,
}

impl AsyncRead for &mut Recorder {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.initialize_unfilled();
        let into = room.as_ptr() as usize;
        let room = room.len();
        self.calls.push(Called::Read { into, room });
        let rest = self.incoming.len().min(room);
        let given: Vec<u8> = self.incoming.drain(..rest).collect();
        buf.put_slice(&given);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for &mut Recorder {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.calls.push(Called::Write(buf.to_vec()));
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.calls.push(Called::WriteVectored(bufs.iter().map(|buf| buf.to_vec()).collect()));
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        self.is_vectored
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.calls.push(Called::Flush);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.calls.push(Called::Shutdown);
        Poll::Ready(Ok(()))
    }
}

/// P8: data is read by one call, into the reader's own buffer, and so is whatever comes with it. What a cut block
/// lacks is fetched to the byte, so that the data after it goes the straight way again.
#[test]
fn p8_data_goes_straight_into_the_readers_buffer() {
    let request = block_frames(0, 1, &request(&kept(1, raw(SOCKET))), &[]);
    let data = frame(DATA, 0, 1, &[7; 10_000]);
    let sent = [hello(), request.clone(), data.clone(), data.clone(), request.clone(), data].concat();
    let whole = sent.len();
    let mut buf = vec![0; whole + 1];
    let mut cx = Context::from_waker(Waker::noop());

    let mut below = Recorder { incoming: sent.clone(), ..Recorder::default() };
    let mut read = ReadBuf::new(&mut buf);
    assert!(Pin::new(&mut AnyAuthority::new(&mut below)).poll_read(&mut cx, &mut read).is_ready());
    assert_eq!(read.filled().len(), whole);
    let into = read.filled().as_ptr() as usize;
    assert_eq!(below.calls, [Called::Read { into, room: whole + 1 }]);

    // Room for half of the first block: the other half is fetched aside.
    let half = hello().len() + request.len() / 2;
    let mut below = Recorder { incoming: sent, ..Recorder::default() };
    let mut layer = AnyAuthority::new(&mut below);
    let mut first = ReadBuf::new(&mut buf[..half]);
    assert!(Pin::new(&mut layer).poll_read(&mut cx, &mut first).is_ready());
    let held_from = hello().len() + 9;
    assert_eq!(first.filled().len(), held_from);
    let mut block = ReadBuf::new(&mut buf);
    assert!(Pin::new(&mut layer).poll_read(&mut cx, &mut block).is_ready());
    assert_eq!(block.filled().len(), request.len() - 9, "the block, and nothing of what follows");
    let mut rest = ReadBuf::new(&mut buf);
    assert!(Pin::new(&mut layer).poll_read(&mut cx, &mut rest).is_ready());
    let into = rest.filled().as_ptr() as usize;
    assert_eq!(rest.filled().len(), whole - hello().len() - request.len());
    let lacking = request.len() - request.len() / 2;
    assert!(matches!(below.calls[1], Called::Read { room, .. } if room == lacking));
    assert_eq!(below.calls[2..], [Called::Read { into, room: whole + 1 }]);
}

/// P8: an empty buffer reads nothing and disturbs nothing.
#[test]
fn p8_no_room_reads_nothing() {
    let mut below = Recorder { incoming: hello(), ..Recorder::default() };
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut AnyAuthority::new(&mut below)).poll_read(&mut cx, &mut ReadBuf::new(&mut [])).is_ready());
    assert_eq!(below.calls, []);
}

/// P8: writing is the connection's own business, vectored or not.
#[test]
fn p8_writes_are_forwarded() {
    let mut cx = Context::from_waker(Waker::noop());
    for is_vectored in [true, false] {
        let mut below = Recorder { is_vectored, ..Recorder::default() };
        let mut layer = AnyAuthority::new(&mut below);
        assert_eq!(layer.is_write_vectored(), is_vectored);
        let mut layer = Pin::new(&mut layer);
        assert!(matches!(layer.as_mut().poll_write(&mut cx, b"ab"), Poll::Ready(Ok(2))));
        let slices = [IoSlice::new(b"c"), IoSlice::new(b"def")];
        assert!(matches!(layer.as_mut().poll_write_vectored(&mut cx, &slices), Poll::Ready(Ok(4))));
        assert!(layer.as_mut().poll_flush(&mut cx).is_ready());
        assert!(layer.as_mut().poll_shutdown(&mut cx).is_ready());
        assert_eq!(
            below.calls,
            [
                Called::Write(b"ab".to_vec()),
                Called::WriteVectored(vec![b"c".to_vec(), b"def".to_vec()]),
                Called::Flush,
                Called::Shutdown,
            ]
        );
    }
}

/// P8: what is held, which may be a token, is not in a log.
#[test]
fn p8_debug_shows_no_metadata() {
    let sent = [hello(), frame(HEADERS, 0, 1, b"\x00\x01x\x06secret")].concat();
    let mut layer = AnyAuthority::new(&sent[..]);
    let mut buf = [0; 100];
    let mut cx = Context::from_waker(Waker::noop());
    // A slice is its own connection, and empty once it is read.
    assert!(Pin::new(&mut layer).poll_read(&mut cx, &mut ReadBuf::new(&mut buf)).is_ready());
    let shown = format!("{layer:?}");
    assert!(shown.contains("Block"), "{shown}");
    assert!(!shown.contains("115, 101, 99"), "{shown}");
}

proptest! {
    /// P8: any pieces, any buffer.
    #[test]
    fn p8_any_splits_read_the_same(cuts in proptest::collection::vec(0_usize..1200, 0..40), room in 1_usize..200) {
        let (sent, expected) = everything();
        prop_assert_eq!(read(&sent, &cuts, room, End::Eof).0, expected);
    }

    /// P8: any bytes do no harm.
    #[test]
    fn p8_any_bytes(
        mut sent in proptest::collection::vec(any::<u8>(), 0..400),
        preface in any::<bool>(),
        cuts in cuts(),
    ) {
        if preface {
            sent.splice(0..0, hello());
        }
        harmless(&sent, &cuts)?;
    }

    /// P8: any frames do no harm.
    #[test]
    fn p8_any_frames(
        frames in proptest::collection::vec(
            (0_u8..=10, any::<u8>(), 0_u32..4, proptest::collection::vec(any::<u8>(), 0..60)), 0..10),
        cuts in cuts(),
    ) {
        let frames = frames.iter().flat_map(|(kind, flags, stream, payload)| frame(*kind, *flags, *stream, payload));
        harmless(&hello().into_iter().chain(frames).collect::<Vec<u8>>(), &cuts)?;
    }

    /// P8: a good connection with some bytes gone bad does no harm.
    #[test]
    fn p8_mutated_connections(
        wrong in proptest::collection::vec((0_usize..1000, any::<u8>()), 0..10),
        cuts in cuts(),
    ) {
        let (mut sent, _) = everything();
        for (at, byte) in wrong {
            let at = at % sent.len();
            sent[at] = byte;
        }
        harmless(&sent, &cuts)?;
    }

    /// P8: an authority that is fine passes as it is, and so does everything beside it.
    #[test]
    fn p8_valid_authorities_pass(
        authority in "[a-z0-9.-]{1,60}(:[0-9]{1,5})?",
        huffman in any::<bool>(),
        cuts in cuts(),
    ) {
        prop_assume!(authority.parse::<Authority>().is_ok());
        let value = if huffman { coded(&authority) } else { raw(&authority) };
        let sent = [hello(), block_frames(0, 1, &request(&kept(1, value)), &cuts)].concat();
        prop_assert_eq!(through(&sent), sent);
    }
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0_usize..1000, 0..20)
}

/// Nothing is lost or added, pieces make no difference, and what was rewritten need not be again.
fn harmless(sent: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    let once = through(sent);
    prop_assert_eq!(once.len(), sent.len());
    prop_assert_eq!(&through(&once), &once);
    for room in [1, 30, 1000] {
        prop_assert_eq!(&read(sent, cuts, room, End::Eof).0, &once);
    }
    Ok(())
}
