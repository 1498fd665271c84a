//! Clients that name a Unix socket by its path (P8).
//!
//! gRPC's C core, which is under Python, C++ and Ruby, sends the percent-encoded path of a Unix socket as `:authority`.
//! The `http` crate takes no '%' there, so h2 resets such a stream with PROTOCOL_ERROR before anybody sees it. Nobody
//! here needs the authority. [`AnyAuthority`] goes between the socket and h2 and overwrites it, in the bytes and before
//! h2 reads them, by one that is fine and has the same lengths, coded and decoded: so no frame changes its size and
//! HPACK's tables agree.
//!
//! ```text
//!   socket ── AnyAuthority ── h2
//!             frames   which bytes are a header block
//!             hpack    which of those are an :authority
//!             huffman  what can stand in its place
//! ```

mod frames;
mod hpack;
mod huffman;

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::frames::{Frames, Passed};

/// How many bytes at most are asked for at once when the rest of a header block is fetched.
const FETCH_BYTES: usize = 4096;

/// The server's end of an HTTP/2 connection, on which any `:authority` is a valid one (P8).
///
/// What the client sends is read as it is, except that the value of an `:authority` which [`http::uri::Authority`]
/// refuses is overwritten by an authority of the same length; the server then sees something like
/// `localhost.localhost.l`. An empty one is left, and so is whatever is not HTTP/2: the server refuses both by itself.
/// What the server writes is not looked at.
///
/// Data costs next to nothing: it is read straight into the reader's buffer, where frames are skipped from head to
/// head. Only a header block that arrives in pieces is held back until it is whole, up to 64 KiB; a larger one passes
/// unread, and an authority in it meets its fate. If the connection ends or fails within a block, what was held is read
/// first.
///
/// The server must leave `SETTINGS_HEADER_TABLE_SIZE` at HTTP/2's initial 4096 bytes, as h2 does unless told otherwise.
///
/// # Example
/// ```
/// use anyudf_grpc::AnyAuthority;
/// use tokio::io::AsyncReadExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let sent = [
///     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(),
///     b"\x00\x00\x0e\x01\x04\x00\x00\x00\x01", // HEADERS, END_HEADERS, stream 1: 14 bytes
///     b"\x41\x0ctmp%2Fw.sock", // :authority, as gRPC spells /tmp/w.sock
/// ]
/// .concat();
/// let mut read = Vec::new();
/// AnyAuthority::new(&sent[..]).read_to_end(&mut read).await?;
/// assert!(read.ends_with(b"\x41\x0clocalhost.lo"));
/// # Ok(())
/// # }
/// ```
pub struct AnyAuthority<T> {
    io: T,
    frames: Frames,
    source: Source,
    /// The header block that is gathered or given out.
    held: Vec<u8>,
}

/// Where the reader's next bytes come from.
#[derive(Debug)]
enum Source {
    /// From the connection.
    Connection,
    /// From nowhere yet: what is held is a header block that lacks so many bytes.
    Block { missing: usize },
    /// From what is held, after the first `given` bytes; then comes the error, if one cut it short.
    Held { given: usize, error: Option<io::Error> },
}

impl<T> AnyAuthority<T> {
    /// Puts the layer over a connection of which nothing has been read.
    pub fn new(io: T) -> Self {
        AnyAuthority { io, frames: Frames::new(), source: Source::Connection, held: Vec::new() }
    }
}

/// Without the bytes that are held: metadata may be secret.
impl<T: fmt::Debug> fmt::Debug for AnyAuthority<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyAuthority").field("io", &self.io).field("source", &self.source).finish_non_exhaustive()
    }
}

impl<T: AsyncRead + Unpin> AnyAuthority<T> {
    /// Reads from the connection into the reader's own buffer. If a header block begins there and is not whole, it is
    /// moved aside. That never leaves nothing, which would mean the end: the head in front of the block stays.
    fn poll_connection(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let fresh = &mut buf.filled_mut()[before..];
        let Passed { bytes, missing } = self.frames.pass(fresh);
        if missing > 0 {
            self.held.clear();
            self.held.extend_from_slice(&fresh[bytes..]);
            buf.set_filled(before + bytes);
            self.source = Source::Block { missing };
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what the held block lacks and not a byte more, so that whatever follows it goes to the reader directly.
    fn poll_block(&mut self, cx: &mut Context<'_>, missing: usize) -> Poll<()> {
        let have = self.held.len();
        self.held.resize(have + missing.min(FETCH_BYTES), 0);
        let mut fresh = ReadBuf::new(&mut self.held[have..]);
        let polled = Pin::new(&mut self.io).poll_read(cx, &mut fresh);
        let read = fresh.filled().len();
        self.held.truncate(have + read);
        self.source = match ready!(polled) {
            Ok(()) if read > 0 => match self.frames.pass(&mut self.held).missing {
                0 => Source::Held { given: 0, error: None },
                missing => Source::Block { missing },
            },
            // The end, which the connection will say again, or an error, which it may not.
            ended => {
                self.frames.lose();
                Source::Held { given: 0, error: ended.err() }
            }
        };
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for AnyAuthority<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match &mut this.source {
                Source::Connection => return this.poll_connection(cx, buf),
                Source::Block { missing } => {
                    let missing = *missing;
                    ready!(this.poll_block(cx, missing));
                }
                Source::Held { given, error } => {
                    let rest = &this.held[*given..];
                    if rest.is_empty() {
                        let error = error.take();
                        this.source = Source::Connection;
                        match error {
                            Some(error) => return Poll::Ready(Err(error)),
                            None => continue,
                        }
                    }
                    let giving = rest.len().min(buf.remaining());
                    buf.put_slice(&rest[..giving]);
                    *given += giving;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for AnyAuthority<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
