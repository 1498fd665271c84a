//! A raw engine: HTTP/2 and gRPC's five bytes by hand, so that a script can say what no client library would.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::answer::{Heard, Status};
use crate::budget::{Budget, Said, Teller};
use crate::frames::{Frames, Outgoing};
use crate::splice::{PLACEHOLDER, Splice};

pub(crate) const EXECUTE: &str = "/org.apache.spark.udf.worker.UdfWorker/Execute";
pub(crate) const MANAGE: &str = "/org.apache.spark.udf.worker.UdfWorker/Manage";

/// Where a worker listens.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Unix(PathBuf),
    Tcp(u16),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Unix(path) => write!(f, "{}", path.display()),
            Place::Tcp(port) => write!(f, "{port}"),
        }
    }
}

/// How a connection is made.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    /// The window of each stream, in bytes.
    pub(crate) window: u32,
    pub(crate) connection_window: u32,
    pub(crate) max_frame: u32,
    /// Bytes of a stream that HTTP/2 takes before they are on the socket.
    pub(crate) send_buffer: usize,
    /// Over IPv6, where it is a port.
    pub(crate) ipv6: bool,
    /// The authority of all streams, when it is one that no client library sends (P8).
    pub(crate) authority: Option<String>,
}

impl Default for Dial {
    fn default() -> Self {
        Dial {
            window: 1 << 20,
            connection_window: 256 << 20,
            max_frame: 16 << 10,
            // More than any window: only the peer is to hold us back.
            send_buffer: 256 << 20,
            ipv6: false,
            authority: None,
        }
    }
}

/// A connection. Dropping it cuts it off: no GOAWAY, no RST_STREAM.
#[derive(Debug)]
pub(crate) struct Link {
    requests: SendRequest<Bytes>,
    task: JoinHandle<()>,
    /// Requests have the placeholder of an authority.
    spliced: bool,
    /// For what the worker sends.
    pub(crate) budget: Budget,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Link {
    pub(crate) async fn dial(place: &Place, dial: &Dial) -> io::Result<Self> {
        let io: Box<dyn Io> = match place {
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Place::Tcp(port) => {
                let host = if dial.ipv6 { "::1" } else { "127.0.0.1" };
                let stream = TcpStream::connect((host, *port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        let io = match &dial.authority {
            Some(authority) => Box::new(Splice::new(io, authority)),
            None => io,
        };
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(dial.window)
            .initial_connection_window_size(dial.connection_window)
            .max_frame_size(dial.max_frame)
            .max_send_buffer_size(dial.send_buffer)
            .enable_push(false);
        let (requests, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        let task = tokio::spawn(async move {
            // How it ended is seen by its streams.
            let _ = connection.await;
        });
        Ok(Link { requests, task, spliced: dial.authority.is_some(), budget: Budget::default() })
    }

    /// Opens a stream.
    pub(crate) async fn open(&self, call: &Call) -> Result<Stream, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let spliced = self.spliced.then(|| Call { authority: PLACEHOLDER.into(), ..call.clone() });
        let (response, sender) = requests.send_request(spliced.as_ref().unwrap_or(call).request(), false)?;
        let (said, heard) = mpsc::unbounded_channel();
        let (reading, reads) = watch::channel(Reading::On);
        let teller = Teller { said, budget: self.budget.clone() };
        let reader = tokio::spawn(listen(response, teller, reads));
        Ok(Stream { out: Outgoing::new(sender), heard, reading, reader })
    }

    /// One question, one answer.
    pub(crate) async fn unary(&self, call: &Call, message: Bytes) -> Result<Bytes, Status> {
        let lost = |error: &dyn std::fmt::Display| Status { code: 14, message: error.to_string() };
        let mut stream = self.open(call).await.map_err(|error| lost(&error))?;
        // A refusal may come before all was sent, and says more.
        let sent = stream.out.send(frame(&message), None).await;
        stream.out.half_close();
        let mut answer = None;
        while let Some((event, ..)) = stream.heard.recv().await {
            match event {
                Event::Message(message) => answer = Some(message),
                Event::End(status) if status.code == 0 => {
                    return answer.ok_or_else(|| Status { code: 13, message: "no answer, and status OK".into() });
                }
                Event::End(status) => return Err(status),
                Event::Cut(why) => return Err(lost(&why)),
                Event::Wrong(why) => return Err(Status { code: 13, message: why }),
            }
        }
        Err(lost(&sent.err().unwrap_or_else(|| "the stream is gone".into())))
    }

    /// Cuts the connection off, whoever still holds it.
    pub(crate) fn cut(&self) {
        self.task.abort();
    }

    /// Whether nobody is at the other end any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.task.is_finished()
    }
}

fn frame(message: &[u8]) -> Bytes {
    crate::message::Shape::default().frame(message)
}

/// What a call carries beside its messages.
pub(crate) type Metadata = Vec<(HeaderName, HeaderValue)>;

/// How a stream is opened.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) deadline: Option<Duration>,
    pub(crate) encoding: Option<String>,
    pub(crate) metadata: Metadata,
}

impl Call {
    pub(crate) fn to(path: &str) -> Self {
        Call { path: path.into(), authority: "localhost".into(), deadline: None, encoding: None, metadata: Vec::new() }
    }

    pub(crate) fn with(self, metadata: &Metadata) -> Self {
        Call { metadata: metadata.clone(), ..self }
    }

    fn request(&self) -> Request<()> {
        let mut request = Request::builder().method(Method::POST).uri(format!("http://localhost{}", self.path));
        let headers = request.headers_mut().expect("the parts are right");
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("user-agent", HeaderValue::from_static("anyudf-conformance"));
        if let Some(deadline) = self.deadline {
            let value = HeaderValue::try_from(format!("{}m", deadline.as_millis())).expect("digits");
            headers.insert("grpc-timeout", value);
        }
        if let Some(encoding) = &self.encoding {
            headers.insert("grpc-encoding", HeaderValue::try_from(encoding).expect("the script was checked"));
        }
        headers.extend(self.metadata.iter().cloned());
        let mut request = request.body(()).expect("the parts are right");
        if self.authority != "localhost" {
            *request.uri_mut() =
                format!("http://{}{}", self.authority, self.path).parse().expect("the script was checked");
        }
        request
    }
}

/// What the reader of a stream sees.
#[derive(Debug)]
pub(crate) enum Event {
    Message(Bytes),
    Wrong(String),
    End(Status),
    Cut(String),
}

impl From<Event> for Heard {
    fn from(event: Event) -> Self {
        match event {
            Event::Message(message) => Heard::decode(message),
            Event::Wrong(why) => Heard::Wrong(why),
            Event::End(status) => Heard::End(status),
            Event::Cut(why) => Heard::Cut(why),
        }
    }
}

/// Whether what comes on a stream is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    On,
    /// With a pause before each frame.
    Slowly,
    Off,
}

/// How long a slow reader waits before each frame.
const PAUSE: Duration = Duration::from_millis(100);

/// One stream. Dropping it resets it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) out: Outgoing,
    pub(crate) heard: mpsc::UnboundedReceiver<Said<Event>>,
    reading: watch::Sender<Reading>,
    reader: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.out.reset();
        self.reader.abort();
    }
}

impl Stream {
    /// What the peer says, apart from the stream, so that one can listen while one waits to send.
    pub(crate) fn take_heard(&mut self) -> mpsc::UnboundedReceiver<Said<Event>> {
        std::mem::replace(&mut self.heard, mpsc::unbounded_channel().1)
    }

    /// Stops reading, so that the peer's window fills; or goes on.
    pub(crate) fn read(&self, reading: Reading) {
        self.reading.send_replace(reading);
    }
}

/// Reads a stream to its end.
async fn listen(response: h2::client::ResponseFuture, teller: Teller<Event>, mut reads: watch::Receiver<Reading>) {
    let response = match response.await {
        Ok(response) => response,
        Err(error) => return teller.tell(Event::Cut(error.to_string()), 0).await,
    };
    let (head, stream) = response.into_parts();
    if let Some(status) = status(&head.headers) {
        return teller.tell(Event::End(status), 0).await;
    }
    let content_type = head.headers.get("content-type").map_or(&b""[..], HeaderValue::as_bytes);
    if head.status != 200 || !content_type.starts_with(b"application/grpc") {
        let shown = content_type.escape_ascii();
        return teller
            .tell(Event::Cut(format!("HTTP status {}, content type `{shown}`: that is no gRPC", head.status)), 0)
            .await;
    }
    let last = messages(stream, &teller, &mut reads).await;
    teller.tell(last, 0).await;
}

/// Tells each message; returns how it ended.
async fn messages(mut stream: RecvStream, teller: &Teller<Event>, reads: &mut watch::Receiver<Reading>) -> Event {
    let mut frames = Frames::default();
    loop {
        let Ok(reading) = reads.wait_for(|reading| *reading != Reading::Off).await.map(|reading| *reading) else {
            return Event::Cut("nobody listens any more".into());
        };
        if reading == Reading::Slowly {
            tokio::time::sleep(PAUSE).await;
        }
        let piece = match stream.data().await {
            None => break,
            Some(Ok(piece)) => piece,
            Some(Err(error)) => return Event::Cut(error.to_string()),
        };
        // What the peer sends is taken at once, unless the script has stopped reading.
        let _ = stream.flow_control().release_capacity(piece.len());
        for message in frames.take(piece) {
            match message {
                Ok(message) => {
                    let bytes = message.len();
                    teller.tell(Event::Message(message), bytes).await;
                }
                Err(why) => return Event::Wrong(why),
            }
        }
    }
    if let Err(why) = frames.end() {
        return Event::Wrong(why);
    }
    match stream.trailers().await {
        Ok(Some(trailers)) => match status(&trailers) {
            Some(status) => Event::End(status),
            None => Event::Wrong("trailers without grpc-status".into()),
        },
        Ok(None) => Event::Wrong("the stream ends without trailers: gRPC has its status there".into()),
        Err(error) => Event::Cut(error.to_string()),
    }
}

fn status(headers: &HeaderMap) -> Option<Status> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let message = headers.get("grpc-message").map_or(&b""[..], HeaderValue::as_bytes);
    Some(Status { code, message: percent_decode(message) })
}

fn percent_decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| text[at] == b'%');
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(text[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
