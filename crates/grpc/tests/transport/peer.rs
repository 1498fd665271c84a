//! Both ends that the tests need: a role pulled by strings on ours, raw HTTP/2 on the other.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use anyudf_grpc::{
    BoxFuture, Call, Code, Connection, Ending, Endpoint, Event, Listener, Outgoing, Parse, Role, Server, ServerHandle,
    Service, Settings, Status, drive,
};
use anyudf_protocol::{ManageRequest, ManageResponse, Request, Response, wire};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{PingPong, RecvStream, SendStream, client, server};
use http::HeaderMap;
use prost::Message;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Round trips during which nothing moved: then it stands still.
const STILL: usize = 20;

pub(crate) const EXECUTE: &str = "/org.apache.spark.udf.worker.UdfWorker/Execute";
pub(crate) const MANAGE: &str = "/org.apache.spark.udf.worker.UdfWorker/Manage";

/// Fails the test when `what` does not happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("it never happened: {what}"),
    }
}

/// Windows that fill quickly.
pub(crate) fn small() -> Settings {
    Settings { stream_window: 256 << 10, max_frame: 64 << 10, max_message: 8 << 20, ..Settings::default() }
}

// ---- messages

/// gRPC's framing of a message.
pub(crate) fn framed(compressed: u8, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.put_u8(compressed);
    bytes.put_u32(message.len().try_into().expect("tests stay below 4 GiB"));
    bytes.put_slice(message);
    bytes.freeze()
}

/// A DataRequest of these bytes.
pub(crate) fn request(data: impl Into<Bytes>) -> Bytes {
    framed(0, &wire::UdfRequest::from(Request::Data(data.into())).encode_to_vec())
}

/// Bytes that are told apart from others of the same length.
pub(crate) fn pattern(len: usize, seed: usize) -> Bytes {
    (0..len).map(|at| ((at + seed * 31) % 251) as u8).collect()
}

/// The whole messages in what a raw peer received.
pub(crate) fn messages(mut body: &[u8]) -> Vec<Response> {
    let mut messages = Vec::new();
    while let Some((&[0, a, b, c, d], rest)) = body.split_first_chunk::<5>() {
        let Some((message, rest)) = rest.split_at_checked(u32::from_be_bytes([a, b, c, d]) as usize) else { break };
        messages.push(Response::parse(Bytes::copy_from_slice(message)).expect("what we send can be read"));
        body = rest;
    }
    messages
}

// ---- a role that a test pulls by strings

/// What a test does with the role that it holds.
#[derive(Debug)]
enum Order {
    Say(Outgoing),
    /// Takes back what is queued and says this (E9).
    Interrupt(Outgoing),
    End(Ending),
}

/// The strings of a [`Puppet`]. Dropping them resets its stream.
#[derive(Debug)]
pub(crate) struct Strings<M> {
    heard: UnboundedReceiver<Event<M>>,
    orders: UnboundedSender<Order>,
}

impl<M: Debug> Strings<M> {
    pub(crate) fn say(&self, message: impl Into<Outgoing>) {
        // Fails only when the stream has ended, and then the test hears of it.
        let _ = self.orders.send(Order::Say(message.into()));
    }

    pub(crate) fn interrupt(&self, message: impl Into<Outgoing>) {
        let _ = self.orders.send(Order::Interrupt(message.into()));
    }

    pub(crate) fn end(&self, ending: Ending) {
        let _ = self.orders.send(Order::End(ending));
    }

    /// The next event; `None` when the stream has ended and [`drive`] has returned.
    pub(crate) async fn event(&mut self) -> Option<Event<M>> {
        soon("the role hears something", self.heard.recv()).await
    }

    /// The next message; its credit goes back at once.
    pub(crate) async fn message(&mut self) -> M {
        match self.event().await {
            Some(Event::Message(message, _)) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    /// The status of a stream that broke.
    pub(crate) async fn broken(&mut self) -> Status {
        match self.event().await {
            Some(Event::Broken(status)) => status,
            other => panic!("it did not break: {other:?}"),
        }
    }

    /// What was heard so far and not looked at.
    pub(crate) fn pending(&mut self) -> Vec<Event<M>> {
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

/// Tells the test what it hears and says what it is told. A broken stream is closed with its status, as workers do.
struct Puppet<M> {
    heard: UnboundedSender<Event<M>>,
    orders: UnboundedReceiver<Order>,
    outbox: VecDeque<Outgoing>,
    ending: Option<Ending>,
}

fn puppet<M>() -> (Puppet<M>, Strings<M>) {
    let (tell, heard) = unbounded_channel();
    let (order, orders) = unbounded_channel();
    (Puppet { heard: tell, orders, outbox: VecDeque::new(), ending: None }, Strings { heard, orders: order })
}

impl<M: Parse> Role for Puppet<M> {
    type Incoming = M;

    fn handle(&mut self, event: Event<M>, _: Instant) {
        if let Event::Broken(status) = &event {
            self.ending.get_or_insert(Ending::Close(status.clone()));
        }
        // Fails only when the test has let go of it.
        let _ = self.heard.send(event);
    }

    fn poll_asked(&mut self, cx: &mut Context<'_>, _: Instant) -> Poll<()> {
        if self.ending.is_some() {
            return Poll::Pending;
        }
        match std::task::ready!(self.orders.poll_recv(cx)) {
            Some(Order::Say(message)) => self.outbox.push_back(message),
            Some(Order::Interrupt(message)) => {
                self.outbox.retain(|message| !message.is_bulk());
                self.outbox.push_back(message);
            }
            Some(Order::End(ending)) => self.ending = Some(ending),
            None => self.ending = Some(Ending::Reset),
        }
        Poll::Ready(())
    }

    fn outbox(&mut self) -> &mut VecDeque<Outgoing> {
        &mut self.outbox
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn ending(&self) -> Option<Ending> {
        self.ending.clone()
    }
}

// ---- our server, and a raw client

/// Our server; each Execute is served by a puppet.
pub(crate) struct Served {
    pub(crate) endpoint: Endpoint,
    pub(crate) handle: ServerHandle,
    arrivals: UnboundedReceiver<Strings<Request>>,
    pub(crate) serving: JoinHandle<()>,
    _directory: TempDir,
}

struct Stage {
    arrivals: UnboundedSender<Strings<Request>>,
}

impl Service for Stage {
    fn execute(&self, call: Call) {
        let (puppet, strings) = puppet();
        if let Ok(duplex) = call.accept() {
            tokio::spawn(drive(puppet, duplex));
            // Fails only when the test is over.
            let _ = self.arrivals.send(strings);
        }
    }

    fn manage(&self, request: ManageRequest) -> BoxFuture<Result<ManageResponse, Status>> {
        let response = match request {
            ManageRequest::Heartbeat => ManageResponse::Heartbeat(BTreeMap::from([("beat".into(), "1".into())])),
            ManageRequest::Shutdown { .. } => ManageResponse::Shutdown { sessions_settled: true },
        };
        Box::pin(std::future::ready(Ok(response)))
    }
}

impl Served {
    pub(crate) async fn start(settings: Settings) -> Self {
        Served::guarded(settings, None).await
    }

    /// The same with a token (P9).
    pub(crate) async fn guarded(settings: Settings, token: Option<&str>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let endpoint = Endpoint::Unix(directory.path().join("w"));
        let listener = Listener::bind(&endpoint).await.expect("a fresh socket");
        Served::on(listener, endpoint, directory, settings, token).await
    }

    pub(crate) async fn on(
        listener: Listener,
        endpoint: Endpoint,
        directory: TempDir,
        settings: Settings,
        token: Option<&str>,
    ) -> Self {
        let (tell, arrivals) = unbounded_channel();
        let service = std::sync::Arc::new(Stage { arrivals: tell });
        let server = Server::new(service, settings, token.map(Into::into)).await.expect("our descriptors decode");
        let handle = server.handle();
        let serving = tokio::spawn(server.serve(listener));
        Served { endpoint, handle, arrivals, serving, _directory: directory }
    }

    pub(crate) async fn arrival(&mut self) -> Strings<Request> {
        soon("an Execute arrives", self.arrivals.recv()).await.expect("the server runs")
    }

    pub(crate) async fn stream(&self) -> UnixStream {
        let Endpoint::Unix(path) = &self.endpoint else { panic!("it listens on a Unix socket") };
        UnixStream::connect(path).await.expect("it listens")
    }

    /// Our own client.
    pub(crate) async fn connect(&self, token: Option<&str>) -> Connection {
        Connection::connect(&self.endpoint, &Settings::default(), token).await.expect("it listens")
    }
}

/// A client that speaks raw HTTP/2.
pub(crate) struct Client {
    requests: SendRequest<Bytes>,
    ping: PingPong,
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    /// Any client there is: HTTP/2's own windows of 64 KiB.
    pub(crate) async fn connect(served: &Served) -> Self {
        Client::with(served, |_| {}).await
    }

    pub(crate) async fn with(served: &Served, configure: impl FnOnce(&mut client::Builder)) -> Self {
        let mut builder = client::Builder::new();
        configure(&mut builder);
        let (requests, mut connection) = builder.handshake(served.stream().await).await.expect("it speaks HTTP/2");
        let ping = connection.ping_pong().expect("it is asked for once");
        let mut client = Client { requests, ping, connection: tokio::spawn(connection) };
        // Then the windows of the server are known.
        client.round_trip().await;
        client
    }

    pub(crate) async fn round_trip(&mut self) {
        soon("a ping is answered", self.ping.ping(h2::Ping::opaque())).await.expect("the connection is there");
    }

    pub(crate) async fn round_trips(&mut self) {
        for _ in 0..STILL {
            self.round_trip().await;
        }
    }

    /// Calls `path` with more or other headers than usual.
    pub(crate) async fn call(
        &mut self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> (SendStream<Bytes>, ResponseFuture) {
        let mut call = http::Request::post(format!("http://localhost{path}")).body(()).expect("a good request");
        for (name, value) in [("te", "trailers"), ("content-type", "application/grpc")].iter().chain(headers) {
            call.headers_mut().insert(*name, value.parse().expect("a good value"));
        }
        let mut requests = self.requests.clone().ready().await.expect("the connection is there");
        let (response, send) = requests.send_request(call, false).expect("the connection is there");
        (send, response)
    }

    pub(crate) async fn execute(&mut self) -> (SendStream<Bytes>, ResponseFuture) {
        self.call(EXECUTE, &[]).await
    }

    /// A unary call, whole.
    pub(crate) async fn unary(&mut self, path: &str, headers: &[(&'static str, &str)], message: &[u8]) -> Answer {
        let (mut send, response) = self.call(path, headers).await;
        // A server that refuses may have ended the stream already.
        let _ = send.send_data(framed(0, message), true);
        Answer::read(response).await
    }
}

/// All that came back on a stream.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: http::StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    /// Reads to the end, giving room back at once.
    pub(crate) async fn read(response: ResponseFuture) -> Self {
        soon("the answer ends", async {
            let (head, mut stream) = response.await.expect("there are headers").into_parts();
            let mut body = Vec::new();
            while let Some(data) = stream.data().await {
                let data = data.expect("the stream is whole");
                stream.flow_control().release_capacity(data.len()).expect("it was received");
                body.extend_from_slice(&data);
            }
            let trailers = stream.trailers().await.expect("the stream is whole");
            Answer { http: head.status, headers: head.headers, body, trailers }
        })
        .await
    }

    /// The gRPC status, wherever it stands.
    pub(crate) fn code(&self) -> Option<Code> {
        let value = self.trailers.as_ref().and_then(|trailers| trailers.get("grpc-status"));
        value.or(self.headers.get("grpc-status")).map(|value| Code::from_bytes(value.as_bytes()))
    }
}

/// Sends one message over and over, as far as the window lets it.
pub(crate) struct Flood {
    message: Bytes,
    rest: Bytes,
    pub(crate) sent: usize,
}

impl Flood {
    pub(crate) fn of(message: Bytes) -> Self {
        Flood { rest: message.clone(), message, sent: 0 }
    }

    /// Sends until nothing has moved for many round trips.
    pub(crate) async fn rise(&mut self, client: &mut Client, send: &mut SendStream<Bytes>) {
        let mut still = 0;
        while still < STILL {
            send.reserve_capacity(self.rest.len());
            let room = send.capacity().min(self.rest.len());
            if room == 0 {
                client.round_trip().await;
                still += 1;
                continue;
            }
            still = 0;
            send.send_data(self.rest.split_to(room), false).expect("the stream is there");
            self.sent += room;
            if self.rest.is_empty() {
                self.rest = self.message.clone();
            }
        }
    }
}

// ---- our client, and a raw server

/// A server that speaks raw HTTP/2 and hands every call to the test.
pub(crate) struct Fake {
    pub(crate) endpoint: Endpoint,
    calls: UnboundedReceiver<(http::Request<RecvStream>, SendResponse<Bytes>)>,
    serving: JoinHandle<()>,
    _directory: TempDir,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("w");
        let listener = UnixListener::bind(&path).expect("a fresh socket");
        let (tell, calls) = unbounded_channel();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("somebody connects");
            let mut connection = server::handshake(stream).await.expect("it speaks HTTP/2");
            while let Some(Ok(call)) = connection.accept().await {
                // Fails only when the test is over.
                let _ = tell.send(call);
            }
        });
        Fake { endpoint: Endpoint::Unix(path), calls, serving, _directory: directory }
    }

    pub(crate) async fn call(&mut self) -> (http::Request<RecvStream>, SendResponse<Bytes>) {
        soon("a call arrives", self.calls.recv()).await.expect("the connection is there")
    }

    /// Our client, and an Execute of it that a puppet drives.
    pub(crate) async fn executed(&self) -> (Connection, Strings<Response>) {
        let connection = Connection::connect(&self.endpoint, &Settings::default(), None).await.expect("it listens");
        let duplex = connection.execute(None).await.expect("the connection is there");
        let (puppet, strings) = puppet();
        tokio::spawn(drive(puppet, duplex));
        (connection, strings)
    }

    /// Drops every connection.
    pub(crate) fn vanish(&self) {
        self.serving.abort();
    }
}

/// Good response headers.
pub(crate) fn accepted() -> http::Response<()> {
    http::Response::builder().header("content-type", "application/grpc").body(()).expect("a good response")
}
