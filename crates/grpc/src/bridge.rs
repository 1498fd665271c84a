//! Between tonic's bodies and h2's streams, for everything that is not `Execute`: Manage, health, reflection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http_body::{Body as _, Frame, SizeHint};
use tonic::body::Body;

use crate::outgoing::Outgoing;
use crate::status::Status;

/// What arrives on a stream, as a body. Room goes back as soon as a piece was taken.
#[derive(Debug)]
struct Received {
    stream: RecvStream,
    data_ended: bool,
}

pub(crate) fn receive(stream: RecvStream) -> Body {
    Body::new(Received { stream, data_ended: false })
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let failed = |error: h2::Error| Some(Err(Status::from(error).into()));
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) => {
                    // Fails only when the stream is gone, and then there is nobody to tell.
                    let _ = self.stream.flow_control().release_capacity(bytes.len());
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => return Poll::Ready(failed(error)),
                None => self.data_ended = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => failed(error),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.data_ended && self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Sends a body, waiting for the peer's window.
pub(crate) async fn send(body: Body, stream: &mut SendStream<Outgoing>) -> Result<(), Status> {
    let mut body = std::pin::pin!(body);
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        match frame.map_err(Status::from)?.into_data() {
            Ok(data) => send_all(data, stream).await?,
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    return Ok(stream.send_trailers(trailers)?);
                }
            }
        }
    }
    Ok(stream.send_data(Outgoing::raw(Bytes::new()), true)?)
}

async fn send_all(mut data: Bytes, stream: &mut SendStream<Outgoing>) -> Result<(), Status> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = match stream.capacity() {
            0 => match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(room) => room?,
                None => return Err(Status::unavailable("the stream is closed")),
            },
            room => room,
        };
        stream.send_data(Outgoing::raw(data.split_to(room.min(data.len()))), false)?;
    }
    Ok(())
}
