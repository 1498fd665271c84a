//! Any `:authority` is accepted (P8), though h2 refuses some: they are overwritten before it reads them, by one of the
//! same length. Only those that come without Huffman's code, as the kit sends them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// HPACK: a literal to remember, whose name is that of the static table's first entry.
const AUTHORITY: u8 = 0x41;
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;

pub(crate) struct AnyAuthority<T> {
    io: T,
    overwrites: bool,
    /// What came and is not whole yet, and what may be read.
    begun: BytesMut,
    ready: BytesMut,
    /// So much of a frame passes as it comes.
    passes: usize,
}

impl<T> AnyAuthority<T> {
    pub(crate) fn new(io: T, overwrites: bool) -> Self {
        AnyAuthority { io, overwrites, begun: BytesMut::new(), ready: BytesMut::new(), passes: PREFACE }
    }

    fn take(&mut self) {
        loop {
            let passes = self.passes.min(self.begun.len());
            self.ready.unsplit(self.begun.split_to(passes));
            self.passes -= passes;
            let Some(&[a, b, c, kind, ..]) = self.begun.get(..FRAME_HEAD) else { return };
            let len = FRAME_HEAD + u32::from_be_bytes([0, a, b, c]) as usize;
            if kind == HEADERS && self.overwrites {
                let Some(frame) = self.begun.get_mut(..len) else { return };
                overwrite(&mut frame[FRAME_HEAD..]);
            }
            self.passes = len;
        }
    }
}

/// Overwrites an authority with a percent sign, if there is one.
fn overwrite(block: &mut [u8]) -> Option<()> {
    let at = block.iter().position(|byte| *byte == AUTHORITY)? + 1;
    let (mut from, mut len) = (at + 1, usize::from(*block.get(at)?));
    if len > 127 {
        // In Huffman's code, which is how h2 writes all that it accepts.
        return None;
    }
    if len == 127 {
        let mut shift = 0;
        loop {
            let byte = usize::from(*block.get(from)?);
            len += (byte & 127) << shift;
            (from, shift) = (from + 1, shift + 7);
            if byte < 128 {
                break;
            }
        }
    }
    let value = block.get_mut(from..from.checked_add(len)?)?;
    if value.contains(&b'%') {
        value.fill(b'a');
    }
    Some(())
}

impl<T: AsyncRead + Unpin> AsyncRead for AnyAuthority<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.ready.is_empty() {
            let mut bytes = [0; 16 << 10];
            let mut piece = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                // The end, whatever was begun.
                return Poll::Ready(Ok(()));
            }
            this.begun.extend_from_slice(piece.filled());
            this.take();
        }
        let len = this.ready.len().min(buffer.remaining());
        buffer.put_slice(&this.ready.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for AnyAuthority<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
