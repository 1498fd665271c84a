//! A raw worker: a server of HTTP/2 and gRPC's five bytes by hand, so that a script can say what no library would.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use anyudf_grpc::AnyAuthority;
use anyudf_protocol::wire;

use crate::answer::Status;
use crate::budget::{Budget, Said, Teller};
use crate::frames::{Frames, Outgoing};
use crate::message::Shape;
use crate::process::loopback;
use crate::wire::{Dial, EXECUTE, MANAGE};

/// So much of that is kept.
const MOST_SEEN: usize = 100;

/// Streams that an engine may have at once on a connection.
const MOST_STREAMS: u32 = 1_024;

/// What of an unknown path or an error is kept.
const LONGEST_NOTE: usize = 300;

/// Listens as a worker does. Dropping it cuts all its connections.
#[derive(Debug)]
pub(crate) struct Server {
    /// Execute streams, in the order in which they were opened.
    pub(crate) streams: mpsc::UnboundedReceiver<Stream>,
    pub(crate) shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What all connections of a server share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    manage: Mutex<Manage>,
    connections: Mutex<Vec<AbortHandle>>,
    /// Connections, their ends, and calls that no worker has.
    seen: Mutex<Vec<(Instant, String)>>,
    /// For what engines send.
    pub(crate) budget: Budget,
    /// How many heartbeats were asked for.
    pub(crate) heartbeats: watch::Sender<usize>,
}

/// How Manage is answered.
#[derive(Debug, Default)]
pub(crate) struct Manage {
    /// What each heartbeat says (M2, M6).
    pub(crate) metrics: BTreeMap<String, String>,
    pub(crate) mood: Mood,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Answers,
    /// It is not answered at all.
    Silent,
    /// It is refused with this status.
    Refuses(u32),
}

/// What becomes of what an engine sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is read, and its credit goes back at once.
    Credited,
    /// It is read, and the engine's window fills all the same.
    Uncredited,
    /// It stays where it is.
    Stopped,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reading::Credited => "the worker reads on",
            Reading::Uncredited => "the worker gives no more credit for what it reads",
            Reading::Stopped => "the worker stops reading",
        })
    }
}

impl Shared {
    pub(crate) fn manage(&self) -> MutexGuard<'_, Manage> {
        self.manage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, Vec<AbortHandle>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was seen besides streams, and is not told again.
    pub(crate) fn seen(&self) -> Vec<(Instant, String)> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn see(&self, what: impl Into<String>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MOST_SEEN {
            seen.push((Instant::now(), what.into().chars().take(LONGEST_NOTE).collect()));
        }
    }

    /// Cuts every connection: no GOAWAY, no RST_STREAM.
    pub(crate) fn cut(&self) {
        self.connections().drain(..).for_each(|connection| connection.abort());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.cut();
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Where an engine connects to.
pub(crate) enum Listener {
    Unix(UnixListener),
    /// On the loopback addresses, of which there may be one (P2).
    Tcp(TcpListener, Option<TcpListener>),
}

impl Listener {
    /// Listens on a socket of this path.
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        UnixListener::bind(path).map(Listener::Unix)
    }

    /// Listens on a port that was free, which is told.
    pub(crate) fn tcp() -> io::Result<(Self, u16)> {
        let listening = |listener: std::net::TcpListener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let (port, first, other) = loopback()?;
        Ok((Listener::Tcp(listening(first)?, other.map(listening).transpose()?), port))
    }

    async fn accept(&self) -> io::Result<Box<dyn Io>> {
        Ok(match self {
            Listener::Unix(listener) => Box::new(listener.accept().await?.0),
            Listener::Tcp(listener, other) => {
                let other = async {
                    match other {
                        Some(other) => other.accept().await,
                        None => std::future::pending().await,
                    }
                };
                let (stream, _) =
                    tokio::select! { accepted = listener.accept() => accepted, accepted = other => accepted }?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

impl Server {
    /// Serves who connects; windows and frames are as `dial` has them.
    pub(crate) fn new(listener: Listener, dial: Dial) -> Self {
        let shared = Arc::new(Shared::default());
        let (accepted, streams) = mpsc::unbounded_channel();
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                loop {
                    let io = match listener.accept().await {
                        Ok(io) => io,
                        Err(error) => {
                            shared.see(format!("-- a connection was not accepted: {error}"));
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            continue;
                        }
                    };
                    let serving = serve(io, dial.clone(), Arc::clone(&shared), accepted.clone());
                    let connection = tokio::spawn(serving);
                    shared.connections().push(connection.abort_handle());
                }
            }
        });
        Server { streams, shared, accepting }
    }
}

/// One connection, to its end.
async fn serve(io: Box<dyn Io>, dial: Dial, shared: Arc<Shared>, accepted: mpsc::UnboundedSender<Stream>) {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(dial.window)
        .initial_connection_window_size(dial.connection_window)
        .max_frame_size(dial.max_frame)
        .max_concurrent_streams(MOST_STREAMS)
        // More than any window: only the peer is to hold us back.
        .max_send_buffer_size(256 << 20);
    // Some libraries send a socket's path as `:authority`, which h2 refuses (P8).
    let mut connection = match builder.handshake::<_, Bytes>(AnyAuthority::new(io)).await {
        Ok(connection) => connection,
        Err(error) => return shared.see(format!("-- a connection that is no HTTP/2: {error}")),
    };
    // They end with the connection.
    let mut calls = JoinSet::new();
    loop {
        let (request, respond) = match connection.accept().await {
            Some(Ok(call)) => call,
            Some(Err(error)) if error.is_io() => return,
            Some(Err(error)) => return shared.see(format!("-- a connection has ended: {error}")),
            None => return,
        };
        match request.uri().path() {
            EXECUTE => {
                // Nobody waits for it when the case is over.
                let _ = accepted.send(Stream::new(request, respond, shared.budget.clone()));
            }
            MANAGE => {
                while calls.try_join_next().is_some() {}
                calls.spawn(manage(request.into_body(), respond, Arc::clone(&shared)));
            }
            path => {
                let why = format!("there is no {path}");
                shared.see(format!("-- a call of {path}, which no worker has: UNIMPLEMENTED"));
                let mut answer = Answer::new(respond);
                answer.end(Some(Status { code: 12, message: why }));
            }
        }
    }
}

/// Answers one call of Manage.
async fn manage(mut body: RecvStream, respond: SendResponse<Bytes>, shared: Arc<Shared>) {
    let mut frames = Frames::default();
    let mut first = None;
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
        first = first.or(frames.take(piece).into_iter().next());
    }
    let asked = match first {
        Some(Ok(message)) => wire::WorkerRequest::decode(message).ok().and_then(|request| request.manage),
        _ => None,
    };
    let (mood, metrics) = {
        let manage = shared.manage();
        (manage.mood, manage.metrics.clone())
    };
    if let Some(wire::worker_request::Manage::Heartbeat(_)) = asked {
        shared.heartbeats.send_modify(|count| *count += 1);
    }
    let mut answer = Answer::new(respond);
    match (mood, asked) {
        // The stream stays open until its connection ends.
        (Mood::Silent, _) => std::future::pending().await,
        (Mood::Refuses(code), _) => answer.end(Some(Status { code, message: "so the script has it".into() })),
        (Mood::Answers, None) => answer.end(Some(Status { code: 3, message: "neither of the two".into() })),
        (Mood::Answers, Some(asked)) => {
            let manage = match asked {
                wire::worker_request::Manage::Heartbeat(_) => {
                    wire::worker_response::Manage::Heartbeat(wire::HeartbeatResponse { metrics })
                }
                wire::worker_request::Manage::Shutdown(_) => {
                    wire::worker_response::Manage::Shutdown(wire::ShutdownResponse { sessions_settled: true })
                }
            };
            let message = wire::WorkerResponse { manage: Some(manage) }.encode_to_vec();
            if let Some(out) = answer.out() {
                let _ = out.send(Shape::default().frame(&message), None).await;
            }
            answer.end(Some(Status { code: 0, message: String::new() }));
        }
    }
}

/// The answer to a call. Its headers go with the first thing that is said.
#[derive(Debug)]
pub(crate) struct Answer {
    respond: SendResponse<Bytes>,
    out: Option<Outgoing>,
    over: bool,
}

impl Answer {
    fn new(respond: SendResponse<Bytes>) -> Self {
        Answer { respond, out: None, over: false }
    }

    /// The half that is ours; `None` when the call is over.
    pub(crate) fn out(&mut self) -> Option<&mut Outgoing> {
        if self.out.is_none() && !self.over {
            let mut response = Response::new(());
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            match self.respond.send_response(response, false) {
                Ok(sender) => self.out = Some(Outgoing::new(sender)),
                Err(_) => self.over = true,
            }
        }
        self.out.as_mut()
    }

    /// Ends it with a status, or without one, as no gRPC server does.
    pub(crate) fn end(&mut self, status: Option<Status>) {
        let started = self.out.is_some();
        match (status, started) {
            (Some(status), true) => self.out().into_iter().for_each(|out| out.trailers(trailers(&status))),
            (Some(status), false) if !self.over => {
                let mut response = Response::new(());
                *response.headers_mut() = trailers(&status);
                response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
                let _ = self.respond.send_response(response, true);
            }
            (Some(_), false) => {}
            (None, _) => self.out().into_iter().for_each(Outgoing::half_close),
        }
        self.over = true;
    }

    /// Ends it with a status of HTTP's, as something does that is no gRPC server.
    pub(crate) fn http(&mut self, status: u16) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let _ = self.respond.send_response(response, true);
        self.over = true;
    }

    pub(crate) fn reset(&mut self) {
        match &mut self.out {
            Some(out) => out.reset(),
            None => self.respond.send_reset(h2::Reason::INTERNAL_ERROR),
        }
        self.over = true;
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(status.code));
    if let Ok(message) = HeaderValue::try_from(&status.message)
        && !status.message.is_empty()
    {
        trailers.insert("grpc-message", message);
    }
    trailers
}

/// What comes from the engine.
#[derive(Debug)]
pub(crate) enum Event {
    Message(Bytes),
    Wrong(String),
    HalfClose,
    /// Reset, or its connection is gone.
    Cut(String),
}

impl Event {
    /// The bytes of its message, if it is one.
    pub(crate) fn len(&self) -> usize {
        match self {
            Event::Message(message) => message.len(),
            Event::Wrong(_) | Event::HalfClose | Event::Cut(_) => 0,
        }
    }
}

/// One Execute stream. Dropping it resets it, unless it is over.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) answer: Answer,
    pub(crate) heard: mpsc::UnboundedReceiver<Said<Event>>,
    reading: watch::Sender<Reading>,
    reader: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.answer.is_over() {
            self.answer.reset();
        }
        self.reader.abort();
    }
}

impl Stream {
    fn new(request: Request<RecvStream>, respond: SendResponse<Bytes>, budget: Budget) -> Self {
        let (said, heard) = mpsc::unbounded_channel();
        let (reading, reads) = watch::channel(Reading::Credited);
        let reader = tokio::spawn(listen(request.into_body(), Teller { said, budget }, reads));
        Stream { answer: Answer::new(respond), heard, reading, reader }
    }

    /// From now on it is read like this.
    pub(crate) fn read(&self, reading: Reading) {
        self.reading.send_replace(reading);
    }
}

/// Reads a stream to its end.
async fn listen(mut body: RecvStream, teller: Teller<Event>, mut reads: watch::Receiver<Reading>) {
    let tell = async |event: Event| {
        let bytes = event.len();
        teller.tell(event, bytes).await;
    };
    let mut frames = Frames::inflating();
    // What was read without credit for it.
    let mut owed = 0;
    loop {
        let Ok(reading) = reads.wait_for(|reading| *reading != Reading::Stopped).await.map(|reading| *reading) else {
            return;
        };
        if reading == Reading::Credited && owed > 0 {
            let _ = body.flow_control().release_capacity(owed);
            owed = 0;
        }
        let came = tokio::select! {
            came = body.data() => came,
            changed = reads.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        match came {
            None => break,
            Some(Err(error)) => return tell(Event::Cut(error.to_string())).await,
            Some(Ok(piece)) => {
                owed += piece.len();
                if reading == Reading::Credited {
                    let _ = body.flow_control().release_capacity(owed);
                    owed = 0;
                }
                for message in frames.take(piece) {
                    tell(message.map_or_else(Event::Wrong, Event::Message)).await;
                }
            }
        }
    }
    if let Err(why) = frames.end() {
        tell(Event::Wrong(why)).await;
    }
    tell(Event::HalfClose).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Call, Link, Place};

    /// P8: gRPC's C core has the path of a Unix socket there, unless it is told otherwise; h2 alone refuses it.
    #[tokio::test]
    async fn p8_any_authority_is_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("w.sock");
        let server = Server::new(Listener::unix(&path).expect("it listens"), Dial::default());
        let place = Place::Unix(path);
        let authority = Some("tmp%2Fkit%2Fw.sock".to_owned());
        let link = Link::dial(&place, &Dial { authority, ..Dial::default() }).await.expect("it connects");
        let heartbeat = Bytes::from_static(b"\x0a\x00");
        let call = Call { authority: "tmp%2Fkit%2Fw.sock".into(), ..Call::to(MANAGE) };
        link.unary(&call, heartbeat).await.expect("it is answered");
        assert_eq!(*server.shared.heartbeats.borrow(), 1);
    }
}
