//! A worker in this process on a real socket, and an engine that follows a script on bare HTTP/2, so that it can say
//! what no engine of ours would.
//!
//! `>` is what the engine says, `<` what it must hear next:
//!
//! ```text
//! > init:echo < init > data:abc < data:abc > finish < finish < end:Ok
//! ```
//!
//! Engine: `init:FORMAT`, `init:FORMAT=PAYLOAD`, `init-chunked:FORMAT`, `init` (the one that was set), `chunk:TEXT`,
//! `last:TEXT`, `data:TEXT`, `data*N` (N bytes), `finish`, `cancel`, `close`, `reset`, `empty`, `unknown`, `garbage`.
//! Worker: `init`, `data:TEXT`, `data*N`, `error[CONDITION]`, `finish`, `cancel`, each with `[CONDITION]` if it carries an
//! error; `end:STATUS`; `reset`. `a|b` is either.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod caller;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyudf_protocol::{Chunk, ExecutionError, Metrics, Request, Response, wire};
use anyudf_worker::{Control, Endpoint, ServeOptions, Worker};
use bytes::{Buf, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use prost::Message;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// No dialogue takes this long; one that does has gone wrong.
const PATIENCE: Duration = Duration::from_secs(30);

const SERVICE: &str = "/org.apache.spark.udf.worker.UdfWorker";

/// A worker on a socket of its own.
pub(crate) struct Served {
    pub(crate) control: Control,
    pub(crate) socket: PathBuf,
    task: JoinHandle<()>,
    _directory: TempDir,
}

impl Served {
    pub(crate) async fn start(worker: Worker) -> Self {
        Served::start_with(worker, |_| {}).await
    }

    pub(crate) async fn start_with(worker: Worker, change: impl FnOnce(&mut ServeOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("w");
        let mut options = ServeOptions::new(Endpoint::Unix(socket.clone()));
        change(&mut options);
        let bound = worker.bind(&options).await.unwrap();
        let control = bound.control();
        Served { control, socket, task: tokio::spawn(bound.serve()), _directory: directory }
    }

    pub(crate) async fn bundled() -> Self {
        Served::start(Worker::bundled()).await
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.socket).await
    }

    /// Waits until the worker has ended by itself.
    pub(crate) async fn ended(self) {
        timeout(PATIENCE, self.task).await.expect("the worker does not end").unwrap();
        assert!(!self.socket.exists(), "the socket is left behind (M3)");
    }
}

/// A connection of an engine.
#[derive(Clone)]
pub(crate) struct Client {
    requests: SendRequest<Bytes>,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    pub(crate) async fn connect(socket: &Path) -> Self {
        let io = UnixStream::connect(socket).await.unwrap();
        Client::over(io).await
    }

    pub(crate) async fn over(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(8 << 20).initial_connection_window_size(1 << 30).max_frame_size(1 << 20);
        let (requests, connection) = builder.handshake(io).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Client { requests, headers: Vec::new() }
    }

    /// Sends this header with every call from now on.
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    async fn open(&self, path: String) -> (SendStream<Bytes>, ResponseFuture) {
        let uri = format!("http://localhost{path}");
        let mut request = http::Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (response, stream) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        (stream, response)
    }

    /// Opens an `Execute` stream.
    pub(crate) async fn execute(&self) -> Dialogue {
        let (send, response) = self.open(format!("{SERVICE}/Execute")).await;
        Dialogue {
            send,
            incoming: Incoming::Headers(response),
            arrived: BytesMut::new(),
            init: wire::Init::default(),
            last: None,
        }
    }

    /// Plays a whole dialogue on a stream of its own.
    pub(crate) async fn play(&self, script: &str) -> Dialogue {
        let mut dialogue = self.execute().await;
        dialogue.play(script).await;
        dialogue
    }

    /// A unary call: the messages of the answer, and the status.
    pub(crate) async fn call(&self, path: &str, message: impl Into<Bytes>) -> (Vec<Bytes>, String) {
        let (mut send, response) = self.open(path.into()).await;
        send.send_data(frame(message.into(), 0), true).unwrap();
        let mut dialogue = Dialogue {
            send,
            incoming: Incoming::Headers(response),
            arrived: BytesMut::new(),
            init: wire::Init::default(),
            last: None,
        };
        let mut messages = Vec::new();
        loop {
            match dialogue.read().await {
                Ok(message) => messages.push(message),
                Err(end) => return (messages, end),
            }
        }
    }

    pub(crate) async fn manage(&self, request: wire::WorkerRequest) -> Result<wire::WorkerResponse, String> {
        let (messages, end) = self.call(&format!("{SERVICE}/Manage"), request.encode_to_vec()).await;
        match messages.first() {
            Some(message) => Ok(wire::WorkerResponse::decode(message.clone()).unwrap()),
            None => Err(end),
        }
    }

    pub(crate) async fn heartbeat(&self) -> BTreeMap<String, String> {
        use wire::{worker_request, worker_response};
        let manage = Some(worker_request::Manage::Heartbeat(wire::Heartbeat {}));
        let response = self.manage(wire::WorkerRequest { manage }).await.unwrap();
        match response.manage {
            Some(worker_response::Manage::Heartbeat(heartbeat)) => heartbeat.metrics,
            other => panic!("a heartbeat is answered with {other:?} (M1)"),
        }
    }

    /// Asks for a heartbeat until a metric has a value: what is awaited is on its way.
    pub(crate) async fn until(&self, name: &str, value: &str) {
        let asked = async { while self.heartbeat().await.get(name).map(String::as_str) != Some(value) {} };
        let waited = timeout(PATIENCE, asked).await;
        assert!(waited.is_ok(), "{name} never became {value}");
    }

    /// Says whether all sessions were settled.
    pub(crate) async fn shutdown(&self, cancel_sessions: bool) -> bool {
        use wire::{worker_request, worker_response};
        let shutdown = wire::ShutdownRequest { reason: None, cancel_sessions: Some(cancel_sessions) };
        let manage = Some(worker_request::Manage::Shutdown(shutdown));
        match self.manage(wire::WorkerRequest { manage }).await.unwrap().manage {
            Some(worker_response::Manage::Shutdown(shutdown)) => shutdown.sessions_settled,
            other => panic!("a shutdown is answered with {other:?} (M1)"),
        }
    }
}

enum Incoming {
    Headers(ResponseFuture),
    Stream(RecvStream),
    Ended(String),
}

/// One `Execute` stream.
pub(crate) struct Dialogue {
    send: SendStream<Bytes>,
    incoming: Incoming,
    arrived: BytesMut,
    /// What `> init` sends.
    pub(crate) init: wire::Init,
    /// The last response that was heard.
    last: Option<Response>,
}

impl Dialogue {
    pub(crate) fn with_init(mut self, init: wire::Init) -> Self {
        self.init = init;
        self
    }

    pub(crate) async fn play(&mut self, script: &str) -> &mut Self {
        let words: Vec<_> = script.split_whitespace().collect();
        for turn in words.chunks(2) {
            match turn {
                [">", word] => self.say(word),
                ["<", wanted] => {
                    let heard = self.hear().await;
                    let fits = wanted.split('|').any(|wanted| wanted == heard);
                    assert!(fits, "wanted {wanted}, heard {heard} in: {script}\n{:?}", self.last);
                }
                other => panic!("what is {other:?}?"),
            }
        }
        self
    }

    pub(crate) fn say(&mut self, word: &str) {
        let (name, rest) = word.split_once(':').unwrap_or((word, ""));
        let bytes = || Bytes::copy_from_slice(rest.as_bytes());
        let request = match name {
            "init" if rest.is_empty() => Request::Init(Box::new(self.init.clone())),
            "init" => Request::Init(Box::new(init(rest))),
            "init-chunked" => {
                let init = wire::Init { is_chunking_payload: Some(true), ..init(rest) };
                Request::Init(Box::new(init))
            }
            "chunk" => Request::Chunk(Chunk { data: bytes(), last: false }),
            "last" => Request::Chunk(Chunk { data: bytes(), last: true }),
            "data" => Request::Data(bytes()),
            "finish" => Request::Finish,
            "cancel" => Request::Cancel(Some("enough".into())),
            "close" => return self.send.send_data(Bytes::new(), true).unwrap(),
            "reset" => return self.send.send_reset(h2::Reason::CANCEL),
            "empty" => return self.message(wire::UdfRequest::default().encode_to_vec()),
            // Field 99, which nobody knows.
            "unknown" => return self.message(vec![0x9a, 0x06, 0x00]),
            "garbage" => return self.message(vec![0xff; 7]),
            other => match other.split_once('*') {
                Some(("data", count)) => Request::Data(vec![b'.'; count.parse().unwrap()].into()),
                _ => panic!("an engine has no word `{other}`"),
            },
        };
        self.request(request);
    }

    pub(crate) fn request(&mut self, request: Request) {
        self.message(wire::UdfRequest::from(request).encode_to_vec());
    }

    pub(crate) fn message(&mut self, message: Vec<u8>) {
        self.frame(frame(message.into(), 0));
    }

    /// Bytes as they are, prefix included.
    pub(crate) fn frame(&mut self, bytes: Bytes) {
        // Fails when the worker has ended the stream; what it said before is still there to be heard.
        let _ = self.send.send_data(bytes, false);
    }

    /// The next thing the worker says, as a word.
    pub(crate) async fn hear(&mut self) -> String {
        let message = match self.read().await {
            Ok(message) => message,
            Err(end) => return end,
        };
        let response = wire::UdfResponse::decode(message).expect("a response");
        let response = Response::try_from(response).expect("a response with a branch");
        let word = word(&response);
        self.last = Some(response);
        word
    }

    /// What was heard last.
    pub(crate) fn last(&self) -> &Response {
        self.last.as_ref().expect("nothing was heard")
    }

    /// The error that the last response carried.
    pub(crate) fn error(&self) -> &ExecutionError {
        let error = match self.last() {
            Response::Init(init) => init.error.as_ref(),
            Response::Error(error) => Some(error),
            Response::Finish(finish) => finish.error.as_ref(),
            Response::Cancel(cancel) => cancel.error.as_ref(),
            Response::Data(_) => None,
        };
        error.expect("an error was heard")
    }

    /// The metrics that the terminator carried.
    pub(crate) fn metrics(&self) -> &Metrics {
        match self.last() {
            Response::Finish(finish) => &finish.metrics,
            Response::Cancel(cancel) => &cancel.metrics,
            other => panic!("{other:?} is no terminator"),
        }
    }

    /// What FinishResponse or InitResponse carried.
    pub(crate) fn data(&self) -> Bytes {
        match self.last() {
            Response::Finish(finish) => finish.data.clone(),
            Response::Init(init) => init.data.clone(),
            Response::Data(data) => Some(data.clone()),
            other => panic!("{other:?} carries no data"),
        }
        .expect("it carries data")
    }

    /// The bytes of the next message, or how the stream ended.
    async fn read(&mut self) -> Result<Bytes, String> {
        timeout(PATIENCE, self.next()).await.expect("the worker says nothing")
    }

    async fn next(&mut self) -> Result<Bytes, String> {
        loop {
            if let Some(message) = take(&mut self.arrived) {
                return Ok(message);
            }
            self.incoming = match &mut self.incoming {
                Incoming::Headers(response) => match response.await {
                    Err(error) => Incoming::Ended(reset(&error)),
                    Ok(response) => match response.headers().get("grpc-status") {
                        Some(status) => Incoming::Ended(end(status)),
                        None => Incoming::Stream(response.into_body()),
                    },
                },
                Incoming::Stream(stream) => match stream.data().await {
                    Some(Ok(bytes)) => {
                        self.arrived.extend_from_slice(&bytes);
                        stream.flow_control().release_capacity(bytes.len()).unwrap();
                        continue;
                    }
                    Some(Err(error)) => Incoming::Ended(reset(&error)),
                    None => match stream.trailers().await {
                        Ok(Some(trailers)) => Incoming::Ended(end(&trailers["grpc-status"])),
                        Ok(None) => Incoming::Ended("end-without-status".into()),
                        Err(error) => Incoming::Ended(reset(&error)),
                    },
                },
                Incoming::Ended(end) => return Err(end.clone()),
            };
        }
    }
}

/// A gRPC message: the flag, the length, the bytes.
pub(crate) fn frame(message: Bytes, compressed: u8) -> Bytes {
    let mut framed = vec![compressed];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

fn take(arrived: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(arrived.get(1..5)?.try_into().unwrap()) as usize;
    if arrived.len() < 5 + length {
        return None;
    }
    let mut message = arrived.split_to(5 + length).freeze();
    message.advance(5);
    Some(message)
}

fn end(status: &http::HeaderValue) -> String {
    let code: i32 = status.to_str().unwrap().parse().unwrap();
    format!("end:{:?}", anyudf_grpc::Code::from_i32(code))
}

fn reset(error: &h2::Error) -> String {
    format!("reset:{:?}", error.reason())
}

/// An Init for a format, with a payload behind `=`.
pub(crate) fn init(what: &str) -> wire::Init {
    let (format, payload) = what.split_once('=').unwrap_or((what, ""));
    wire::Init {
        protocol_version: Some(1),
        data_format: wire::UdfWorkerDataFormat::Arrow as i32,
        udf: Some(wire::UdfPayload {
            format: format.into(),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn word(response: &Response) -> String {
    let with = |name: &str, error: Option<&ExecutionError>| match error {
        None => name.to_owned(),
        Some(error) => format!("{name}[{}]", error.condition().unwrap_or("-")),
    };
    match response {
        Response::Init(init) => with("init", init.error.as_ref()),
        Response::Data(data) if data.len() > 40 => format!("data*{}", data.len()),
        Response::Data(data) => format!("data:{}", String::from_utf8_lossy(data)),
        Response::Error(error) => with("error", Some(error)),
        Response::Finish(finish) => with("finish", finish.error.as_ref()),
        Response::Cancel(cancel) => with("cancel", cancel.error.as_ref()),
    }
}

/// Something a function waits at until the test lets it go.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    inner: std::sync::Arc<(std::sync::Mutex<(usize, bool)>, std::sync::Condvar)>,
}

impl Gate {
    /// Waits, on the function's side.
    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.inner;
        let mut state = state.lock().unwrap();
        state.0 += 1;
        changed.notify_all();
        drop(changed.wait_while(state, |(_, open)| !*open).unwrap());
    }

    /// Lets everybody go.
    pub(crate) fn open(&self) {
        let (state, changed) = &*self.inner;
        state.lock().unwrap().1 = true;
        changed.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.inner.0.lock().unwrap().1
    }

    /// How many wait or have waited.
    pub(crate) fn visitors(&self) -> usize {
        self.inner.0.lock().unwrap().0
    }

    /// Waits, on a thread of its own, until `count` functions have come.
    pub(crate) async fn visited(&self, count: usize) {
        let gate = self.clone();
        let waited = tokio::task::spawn_blocking(move || {
            let (state, changed) = &*gate.inner;
            let state = state.lock().unwrap();
            let (state, result) = changed.wait_timeout_while(state, PATIENCE, |(come, _)| *come < count).unwrap();
            drop(state);
            !result.timed_out()
        });
        assert!(waited.await.unwrap(), "only {} of {count} functions came to the gate", self.visitors());
    }
}
