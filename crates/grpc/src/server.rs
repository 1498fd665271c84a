//! The worker's end: connections, calls, and what stands beside `Execute`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyudf_protocol::{ManageRequest, ManageResponse, wire};
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_service::Service as _;

use crate::authority::AnyAuthority;
use crate::bridge;
use crate::client::{EXECUTE, FEATURES, GRPC_ACCEPT_ENCODING, GRPC_ENCODING, TOKEN};
use crate::driver::{Duplex, LONGEST_LINGER, Source};
use crate::generated::udf_worker_server::{UdfWorker, UdfWorkerServer};
use crate::io::Io;
use crate::listener::Listener;
use crate::outgoing::Outgoing;
use crate::reader::Reader;
use crate::settings::{Crowd, STREAM_WINDOWS, Settings, Tenant, Tenants};
use crate::status::Status;
use crate::writer::{Neighbours, Writer};

/// How long a connection may take to flush its last words when the server ends; anew while a stream on it lingers.
const FAREWELL: Duration = Duration::from_secs(1);

/// A future in a box, as [`Service`] returns.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a worker does with the calls of the protocol.
pub trait Service: Send + Sync + 'static {
    /// Serves one `Execute` stream: [`Call::accept`] it and drive it on a task of its own, or [`Call::refuse`] it.
    fn execute(&self, call: Call);

    /// Answers a Manage call (M1-M4). Must not wait for anything that an `Execute` stream can hold (M2).
    fn manage(&self, request: ManageRequest) -> BoxFuture<Result<ManageResponse, Status>>;
}

/// Serves the protocol on a listener, with health and reflection beside it (M5).
pub struct Server {
    shared: Arc<Shared>,
    health: HealthReporter,
    stop: watch::Sender<bool>,
}

struct Shared {
    service: Arc<dyn Service>,
    routes: Routes,
    token: Option<Box<[u8]>>,
    settings: Settings,
    /// Those on all connections together.
    executions: Tenants,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

/// Turns a running [`Server`] off, or says in health that it is about to be (M3). Clones are the same handle.
#[derive(Clone)]
pub struct ServerHandle {
    health: HealthReporter,
    stop: watch::Sender<bool>,
}

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerHandle").finish_non_exhaustive()
    }
}

impl ServerHandle {
    /// Health says NOT_SERVING from now on (M3).
    pub async fn not_serving(&self) {
        set_health(&self.health, ServingStatus::NotServing).await;
    }

    /// Ends [`Server::serve`] after what was answered has been flushed.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for service in ["", "org.apache.spark.udf.worker.UdfWorker"] {
        health.set_service_status(service, status).await;
    }
}

impl Server {
    /// A server for `service`. Calls whose metadata `anyudf-token` is not `token` are refused (P9).
    ///
    /// # Errors
    /// Never in practice: reflection refuses descriptors that do not decode, and ours are checked in.
    pub async fn new(
        service: Arc<dyn Service>,
        settings: Settings,
        token: Option<String>,
    ) -> Result<Self, tonic_reflection::server::Error> {
        let (health, health_service) = tonic_health::server::health_reporter();
        set_health(&health, ServingStatus::Serving).await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(wire::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let manage = UdfWorkerServer::new(Manage(Arc::clone(&service)))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(settings.max_message);
        let routes = Routes::new(manage)
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .prepare();
        let token = token.map(|token| token.into_bytes().into());
        let (stop, _) = watch::channel(false);
        let shared = Shared { service, routes, token, settings, executions: Tenants::default() };
        Ok(Server { shared: Arc::new(shared), health, stop })
    }

    /// What turns this server off.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { health: self.health.clone(), stop: self.stop.clone() }
    }

    /// Serves until [`ServerHandle::stop`], then gives every connection a second to flush its last words, and four to
    /// peers that still read what was said to them.
    ///
    /// # Cancel safety
    /// Dropping the future closes every connection at once.
    pub async fn serve(self, listener: Listener) {
        let mut stopped = self.stop.subscribe();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(io) => {
                        connections.spawn(connection(io, Arc::clone(&self.shared), self.stop.subscribe()));
                    }
                    Err(error) => {
                        // Out of descriptors, most likely: what is served now will free some.
                        tracing::warn!(%error, "can't accept a connection");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = told(&mut stopped) => break,
            }
        }
        drop(listener);
        let began = Instant::now();
        let mut flushed = std::pin::pin!(async { while connections.join_next().await.is_some() {} });
        while tokio::time::timeout(FAREWELL, &mut flushed).await.is_err() {
            if self.shared.executions.count() == 0 || began.elapsed() >= LONGEST_LINGER {
                break;
            }
        }
    }
}

/// Waits for [`ServerHandle::stop`].
async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that no handle is left, and then nobody can say stop.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

async fn connection(io: Io, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let settings = &shared.settings.beside(shared.executions.count());
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_frame_size(settings.max_frame)
        .max_send_buffer_size(settings.send_buffer)
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(64 << 10);
    let mut connection = match builder.handshake::<_, Outgoing>(AnyAuthority::new(io)).await {
        Ok(connection) => connection,
        Err(error) => return tracing::debug!(%error, "a connection that does not speak HTTP/2"),
    };
    let mut stopping = false;
    let mut crowd = Crowd::new(settings);
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    shared.call(request, respond, &mut crowd);
                    if let Some(window) = crowd.change(settings) {
                        // Fails only while the peer has not acknowledged the change before; the next one repairs it.
                        let _ = connection.set_initial_window_size(window);
                    }
                }
                Some(Err(error)) => return tracing::debug!(%error, "a connection broke"),
                None => return,
            },
            () = told(&mut stop), if !stopping => {
                stopping = true;
                connection.graceful_shutdown();
            }
        }
    }
}

impl Shared {
    /// Gives one call to whoever serves its path.
    fn call(&self, request: Request<RecvStream>, respond: SendResponse<Outgoing>, crowd: &mut Crowd) {
        if !self.is_authentic(request.headers()) {
            let text = "the metadata anyudf-token is missing or wrong (P9)";
            return refuse(respond, &Status::new(Code::Unauthenticated, text));
        }
        if request.uri().path() == EXECUTE {
            let (head, stream) = request.into_parts();
            match check(&head.headers) {
                Ok(Checked { gzip, deadline, neighbours }) => {
                    let tenant = crowd.enter(neighbours).beside(&self.executions);
                    let settings = self.settings.clone();
                    self.service.execute(Call { stream, respond, gzip, settings, deadline, neighbours, tenant });
                }
                Err(response) => {
                    let mut respond = respond;
                    // Fails only when the stream is gone already.
                    let _ = respond.send_response(*response, true);
                }
            }
            return;
        }
        let mut routes = self.routes.clone();
        tokio::spawn(async move {
            let Ok(response) = routes.call(request.map(bridge::receive)).await;
            let (head, body) = response.into_parts();
            let mut respond = respond;
            // An error is headers alone; gRPC's C core takes an empty frame behind them for a broken stream.
            let ended = http_body::Body::is_end_stream(&body);
            if let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), ended)
                && !ended
                && let Err(error) = bridge::send(body, &mut stream).await
            {
                tracing::debug!(%error, "a caller left before its answer");
            }
        });
    }

    fn is_authentic(&self, headers: &HeaderMap) -> bool {
        match (&self.token, headers.get(TOKEN)) {
            (None, _) => true,
            (Some(token), Some(given)) => constant_time_eq(token, given.as_bytes()),
            (Some(_), None) => false,
        }
    }
}

/// Compares without telling, by the time it takes, how much is right (P9).
fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differences) == 0 && left.len() == right.len()
}

/// Ends a call with nothing but a status.
fn refuse(mut respond: SendResponse<Outgoing>, status: &Status) {
    let mut response = Response::new(());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    status.write_to(response.headers_mut());
    // Fails only when the stream is gone already.
    let _ = respond.send_response(response, true);
}

/// What the headers of an `Execute` call say.
struct Checked {
    gzip: bool,
    deadline: Option<Instant>,
    neighbours: Neighbours,
}

/// Checks the headers of an `Execute` call; what is wrong is answered with the response given back.
fn check(headers: &HeaderMap) -> Result<Checked, Box<Response<()>>> {
    let header = |name| headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
    let mut response = Response::new(());
    if !header(CONTENT_TYPE).starts_with(b"application/grpc") {
        *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Box::new(response));
    }
    let gzip = match header(GRPC_ENCODING) {
        b"" | b"identity" => false,
        b"gzip" => true,
        other => {
            let other = String::from_utf8_lossy(other);
            let text = format!("grpc-encoding `{other}` is unknown, use gzip or identity (P11)");
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip"));
            Status::new(Code::Unimplemented, text).write_to(headers);
            return Err(Box::new(response));
        }
    };
    let timeout = std::str::from_utf8(header(http::HeaderName::from_static("grpc-timeout"))).ok();
    let deadline = timeout.and_then(parse_timeout).and_then(|timeout| Instant::now().checked_add(timeout));
    let apart = header(FEATURES).split(|&byte| byte == b',').any(|word| word.trim_ascii() == STREAM_WINDOWS.as_bytes());
    let neighbours = if apart { Neighbours::Apart } else { Neighbours::Unknown };
    Ok(Checked { gzip, deadline, neighbours })
}

/// An `Execute` call that was neither accepted nor refused yet. Dropping it resets the stream.
#[derive(Debug)]
pub struct Call {
    stream: RecvStream,
    respond: SendResponse<Outgoing>,
    gzip: bool,
    settings: Settings,
    deadline: Option<Instant>,
    neighbours: Neighbours,
    tenant: Tenant,
}

impl Call {
    /// When the client gives up, if it said so (`grpc-timeout`).
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes the call: headers go out at once, messages may follow.
    ///
    /// # Errors
    /// [`Status`] when the stream is gone already.
    pub fn accept(mut self) -> Result<Duplex, Status> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip"));
        let stream = self.respond.send_response(response, false)?;
        let writer = Writer::new(stream, &self.settings, self.neighbours, self.tenant);
        let reader = Source::Messages(Box::new(Reader::new(self.stream, self.gzip, &self.settings)));
        Ok(Duplex { reader, writer, server: true })
    }

    /// Ends the call with nothing but a status (R14).
    pub fn refuse(self, status: &Status) {
        refuse(self.respond, status);
    }
}

/// `grpc-timeout`: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// [`Service::manage`] as tonic wants it.
struct Manage(Arc<dyn Service>);

#[tonic::async_trait]
impl UdfWorker for Manage {
    async fn manage(
        &self,
        request: tonic::Request<wire::WorkerRequest>,
    ) -> Result<tonic::Response<wire::WorkerResponse>, tonic::Status> {
        let request = ManageRequest::try_from(request.into_inner())
            .map_err(|violation| tonic::Status::invalid_argument(violation.to_string()))?;
        let response = self.0.manage(request).await.map_err(tonic::Status::from)?;
        Ok(tonic::Response::new(response.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R14: a client's deadline is read in every unit gRPC has, and nonsense is no deadline.
    #[test]
    fn r14_timeouts_are_read() {
        assert_eq!(parse_timeout("1H"), Some(Duration::from_secs(3_600)));
        assert_eq!(parse_timeout("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse_timeout("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(parse_timeout("10m"), Some(Duration::from_millis(10)));
        for wrong in ["", "m", "123456789m", "-1S", "1", "1x", "é"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }

    /// P9: only the very token is right.
    #[test]
    fn p9_tokens_are_compared_whole() {
        assert!(constant_time_eq(b"secret", b"secret"));
        for wrong in ["", "secre", "secret2", "Secret"] {
            assert!(!constant_time_eq(b"secret", wrong.as_bytes()), "{wrong}");
        }
    }
}
