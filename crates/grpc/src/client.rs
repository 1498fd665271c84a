//! The engine's end of a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyudf_protocol::{ManageRequest, ManageResponse, wire};
use h2::client::{ResponseFuture, SendRequest};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tonic::Code;
use tonic::body::Body;

use crate::bridge;
use crate::driver::{Duplex, Source};
use crate::endpoint::Endpoint;
use crate::generated::udf_worker_client::UdfWorkerClient;
use crate::io::Io;
use crate::outgoing::Outgoing;
use crate::reader::Reader;
use crate::settings::{STREAM_WINDOWS, Settings, Tenant, Tenants};
use crate::status::Status;
use crate::writer::{Neighbours, Writer};

/// The path of `Execute`.
pub(crate) const EXECUTE: &str = "/org.apache.spark.udf.worker.UdfWorker/Execute";

/// The metadata that carries the token of P9.
pub(crate) const TOKEN: HeaderName = HeaderName::from_static("anyudf-token");

/// The metadata in which an engine announces what a worker may rely on, as a comma list (M6).
pub(crate) const FEATURES: HeaderName = HeaderName::from_static("anyudf-features");

pub(crate) const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub(crate) const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const USER_AGENT: &str = concat!("anyudf/", env!("CARGO_PKG_VERSION"));

/// A connection to one worker. Clones share it; it closes when the last one and the last stream are gone.
#[derive(Clone)]
pub struct Connection {
    requests: SendRequest<Outgoing>,
    settings: Settings,
    token: Option<HeaderValue>,
    closed: watch::Receiver<Option<Status>>,
    tenants: Tenants,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("closed", &*self.closed.borrow()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects and waits until the worker has answered at the level of HTTP/2, so that its windows are known. The
    /// connection is driven by a task on the present tokio runtime.
    ///
    /// `token` is sent with every call (P9).
    ///
    /// # Errors
    /// [`Status`] UNAVAILABLE when nobody listens or what answers does not speak HTTP/2.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(endpoint: &Endpoint, settings: &Settings, token: Option<&str>) -> Result<Self, Status> {
        let unavailable =
            |error: &dyn std::fmt::Display| Status::unavailable(format!("can't connect to {endpoint}: {error}"));
        let io = match endpoint {
            Endpoint::Unix(path) => Io::Unix(UnixStream::connect(path).await.map_err(|error| unavailable(&error))?),
            Endpoint::Tcp(port) => {
                let stream = match TcpStream::connect(("127.0.0.1", *port)).await {
                    Ok(stream) => stream,
                    Err(first) => TcpStream::connect(("::1", *port)).await.map_err(|_| unavailable(&first))?,
                };
                stream.set_nodelay(true).map_err(|error| unavailable(&error))?;
                Io::Tcp(stream)
            }
        };
        let token = token
            .map(|token| {
                let mut value = HeaderValue::try_from(token)
                    .map_err(|_| Status::new(Code::InvalidArgument, "the token has characters that no header can"))?;
                value.set_sensitive(true);
                Ok::<_, Status>(value)
            })
            .transpose()?;
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(settings.stream_window)
            .initial_connection_window_size(settings.connection_window)
            .max_frame_size(settings.max_frame)
            .max_send_buffer_size(settings.send_buffer)
            .max_header_list_size(64 << 10)
            .enable_push(false);
        let (requests, mut connection) =
            builder.handshake::<_, Outgoing>(io).await.map_err(|error| unavailable(&error))?;
        let mut ping = connection.ping_pong().expect("it is asked for once");
        let (tell, closed) = watch::channel(None);
        tokio::spawn(async move {
            let status = match connection.await {
                Ok(()) => Status::unavailable("the worker closed the connection"),
                Err(error) => Status::from(error),
            };
            tell.send_replace(Some(status));
        });
        ping.ping(h2::Ping::opaque()).await.map_err(|error| unavailable(&error))?;
        Ok(Connection { requests, settings: settings.clone(), token, closed, tenants: Tenants::default() })
    }

    /// Opens an `Execute` stream, waiting while the worker has no place for another. `deadline` becomes gRPC's own.
    ///
    /// It keeps no room of the worker's window free for Cancel (E9), as other streams of the connection may need it;
    /// [`Connections`](crate::Connections) knows better.
    ///
    /// # Errors
    /// [`Status`] when the connection is gone.
    ///
    /// # Cancel safety
    /// Dropping the future opens nothing.
    pub async fn execute(&self, deadline: Option<Duration>) -> Result<Duplex, Status> {
        self.execute_as(self.tenants.enter(), Neighbours::Unknown, deadline).await
    }

    /// The same for a tenant that was counted before.
    pub(crate) async fn execute_as(
        &self,
        tenant: Tenant,
        neighbours: Neighbours,
        deadline: Option<Duration>,
    ) -> Result<Duplex, Status> {
        let mut request = self.request(EXECUTE);
        request.headers_mut().insert(FEATURES, HeaderValue::from_static(STREAM_WINDOWS));
        if let Some(deadline) = deadline {
            let millis = deadline.as_millis().clamp(1, 99_999_999);
            let value = HeaderValue::try_from(format!("{millis}m")).expect("digits");
            request.headers_mut().insert("grpc-timeout", value);
        }
        let mut requests = self.requests.clone().ready().await?;
        let (response, stream) = requests.send_request(request, false)?;
        let writer = Writer::new(stream, &self.settings, neighbours, tenant);
        let headers = Headers { response, settings: self.settings.clone() };
        Ok(Duplex { reader: Source::Headers(headers), writer, server: false })
    }

    /// Asks the worker as a whole (M1).
    ///
    /// # Errors
    /// [`Status`] when the connection is gone, the worker refuses, or its answer has another branch than the request.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call; the worker may have acted on it.
    pub async fn manage(&self, request: ManageRequest) -> Result<ManageResponse, Status> {
        let mut client = UdfWorkerClient::with_origin(self.clone(), Uri::from_static("http://localhost"))
            .max_decoding_message_size(self.settings.max_message);
        let heartbeat = request == ManageRequest::Heartbeat;
        let response = client.manage(wire::WorkerRequest::from(request)).await.map_err(Status::from)?;
        let response = ManageResponse::try_from(response.into_inner())
            .map_err(|violation| Status::internal(violation.to_string()))?;
        if heartbeat != matches!(response, ManageResponse::Heartbeat(_)) {
            return Err(Status::internal("the worker answered another question than was asked (M1)"));
        }
        Ok(response)
    }

    /// Waits until the connection is gone, and says why. Who waits does not keep the connection.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub fn closed(&self) -> impl Future<Output = Status> + Send + use<> {
        let mut closed = self.closed.clone();
        async move {
            let gone = || Status::unavailable("the connection's task was ended");
            match closed.wait_for(Option::is_some).await {
                Ok(status) => status.clone().unwrap_or_else(gone),
                Err(_) => gone(),
            }
        }
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.closed.borrow().is_some()
    }

    /// The executions on it.
    pub(crate) fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    fn request(&self, path: &'static str) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        let uri = Uri::builder().scheme("http").authority("localhost").path_and_query(path).build();
        *request.uri_mut() = uri.expect("every part is a constant");
        self.headers(&mut request);
        request
    }

    fn headers<B>(&self, request: &mut Request<B>) {
        let headers = request.headers_mut();
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip"));
        headers.insert(http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        if let Some(token) = &self.token {
            headers.insert(TOKEN, token.clone());
        }
    }
}

impl tower_service::Service<Request<Body>> for Connection {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.requests.poll_ready(cx).map_err(Status::from)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.headers(&mut request);
        let (head, body) = request.into_parts();
        let sent = self.requests.send_request(Request::from_parts(head, ()), false);
        Box::pin(async move {
            let (response, mut stream) = sent?;
            let sent = bridge::send(body, &mut stream).await;
            // A refusal may come before all was sent; it says more than that the stream broke.
            match response.await {
                Ok(response) => Ok(response.map(bridge::receive)),
                Err(error) => Err(sent.err().unwrap_or_else(|| error.into())),
            }
        })
    }
}

/// The headers of a response on their way; its messages come after them.
#[derive(Debug)]
pub(crate) struct Headers {
    response: ResponseFuture,
    settings: Settings,
}

impl Headers {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reader, Status>> {
        let response = ready!(Pin::new(&mut self.response).poll(cx))?;
        Poll::Ready(self.accept(response))
    }

    fn accept(&self, response: Response<h2::RecvStream>) -> Result<Reader, Status> {
        let (head, stream) = response.into_parts();
        if let Some(status) = Status::from_trailers(&head.headers) {
            return Err(match status.is_ok() {
                true => Status::internal("the worker ended the stream without a word"),
                false => status,
            });
        }
        let content_type = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if head.status != http::StatusCode::OK || !content_type.starts_with(b"application/grpc") {
            let content_type = String::from_utf8_lossy(content_type);
            return Err(Status::unavailable(format!(
                "what listens there is no gRPC server: it answered {} with content type `{content_type}`",
                head.status
            )));
        }
        let gzip = match head.headers.get(GRPC_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => false,
            Some(b"gzip") => true,
            Some(other) => {
                return Err(Status::internal(format!(
                    "the worker answers in grpc-encoding `{}`, which was not offered (P11)",
                    String::from_utf8_lossy(other)
                )));
            }
        };
        Ok(Reader::new(stream, gzip, &self.settings))
    }
}
