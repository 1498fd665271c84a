//! One connection to the worker: its calls, and the heartbeats that say whether anybody is there (M2, M6, D10).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyudf_protocol::wire::{self, worker_request, worker_response};
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{HeaderValue, Method, Request};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::stream::{Arrival, Input, Kind, Output};
use crate::mutant::{Mutant, Mutation as M};

const SERVICE: &str = "/org.apache.spark.udf.worker.UdfWorker";

/// How often the worker is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// How long an answer may take before it counts as missed.
const PATIENCE: Duration = Duration::from_millis(400);

/// After so many that were missed the worker is given up.
const MISSED: usize = 3;

pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    pub(crate) mutant: Mutant,
    /// What the worker announces (M6); nothing if it does not say.
    announced: BTreeMap<String, String>,
    /// It no longer answers.
    pub(crate) lost: watch::Sender<bool>,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connection {
    /// Connects to the path of a socket, or a port (P2). The second handle ends when nobody holds the connection any more
    /// and all was sent.
    pub(crate) async fn dial(place: &str, mutant: Mutant) -> io::Result<(Arc<Self>, JoinHandle<()>)> {
        let io: Box<dyn Io> = match place.parse::<u16>() {
            Ok(port) if !mutant.is(M::PortIsAPath) => {
                let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            _ => Box::new(UnixStream::connect(place).await?),
        };
        let mut builder = Builder::new();
        let window = if mutant.is(M::WindowIsThatOfAll) { 8 << 20 } else { 1 << 30 };
        builder.initial_window_size(8 << 20).initial_connection_window_size(window).enable_push(false);
        // More than any window: only the worker is to hold us back.
        builder.max_send_buffer_size(64 << 20);
        let (requests, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        let task = tokio::spawn(async move {
            // How it ended is seen by its streams.
            let _ = connection.await;
        });
        let mut connection = Connection { requests, mutant, announced: BTreeMap::new(), lost: watch::channel(false).0 };
        if let Ok(Some(announced)) = timeout(Duration::from_secs(1), connection.heartbeat()).await {
            connection.announced = announced;
        }
        Ok((Arc::new(connection), task))
    }

    /// Asks again and again, until three answers in a row are missed.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut missed = 0;
        let mut next = Instant::now();
        while missed < MISSED && !self.mutant.is(M::NoHeartbeats) {
            if missed > 0 && self.mutant.is(M::OneMissedHeartbeatIsTheEnd) {
                break;
            }
            next = (next + HEARTBEAT).max(Instant::now());
            sleep_until(next).await;
            match timeout(PATIENCE, self.heartbeat()).await {
                Ok(Some(_)) => missed = 0,
                _ if self.mutant.is(M::MissedHeartbeatsAreForgotten) => {}
                _ => missed += 1,
            }
        }
        if missed > 0 {
            self.lost.send_replace(true);
        }
        // Whoever waits for the news needs somebody who could still tell them.
        std::future::pending().await
    }

    /// The metrics of a heartbeat. A refusal is an answer, without metrics (D6).
    async fn heartbeat(&self) -> Option<BTreeMap<String, String>> {
        let (mut input, mut output) = self.open("Manage").await.ok()?;
        let question =
            wire::WorkerRequest { manage: Some(worker_request::Manage::Heartbeat(wire::Heartbeat {})) }.encode_to_vec();
        output.push(&question, Kind::First);
        output.pump().await;
        output.half_close();
        let refused = (!self.mutant.is(M::RefusedHeartbeatIsNone)).then(BTreeMap::new);
        match input.next().await {
            Arrival::Message(answer, _) => match wire::WorkerResponse::decode(answer).ok()?.manage {
                Some(worker_response::Manage::Heartbeat(heartbeat)) => Some(heartbeat.metrics),
                _ => None,
            },
            Arrival::End(..) => refused,
            Arrival::Broken(_) => None,
        }
    }

    /// Whether the worker has announced a feature (M6).
    pub(crate) fn has(&self, feature: &str) -> bool {
        let Some(features) = self.announced.get("features") else { return false };
        match self.mutant.is(M::PartOfAFeatureWillDo) {
            true => features.contains(feature),
            false => features.split(',').any(|announced| announced.trim() == feature),
        }
    }

    /// Opens an Execute stream; nothing is said on it yet.
    pub(crate) async fn execute(&self) -> Result<(Input, Output), String> {
        self.open("Execute").await
    }

    async fn open(&self, method: &str) -> Result<(Input, Output), String> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        let uri = format!("http://localhost{SERVICE}/{method}").parse();
        *request.uri_mut() = uri.map_err(|error| format!("{error}"))?;
        let headers = request.headers_mut();
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        let mut requests = self.requests.clone().ready().await.map_err(|error| error.to_string())?;
        let (response, body) = requests.send_request(request, false).map_err(|error| error.to_string())?;
        Ok((Input::new(response, self.mutant), Output::new(body, self.mutant)))
    }
}
