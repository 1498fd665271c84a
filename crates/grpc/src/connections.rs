//! All connections of an engine to one worker: one for Manage, as many as it takes for executions.
//!
//! ```text
//!   Manage ──────────▶ first ═══▶ ┐
//!   Execute 1 … 64 ──▶ first      │ a worker that announced `stream_windows`
//!   Execute 65 … ────▶ another ═▶ ┘
//!
//!   Manage ──────────▶ first ═══▶ ┐
//!   Execute 1 ───────▶ another ═▶ │ any other worker
//!   Execute 2 ───────▶ another ═▶ ┘
//! ```
//!
//! Streams of one connection share its window. A worker that does not say how large that is gets a connection for each
//! execution, so that one whose function takes nothing stops neither another nor Manage (E5, M2).

use std::sync::Mutex;
use std::time::Duration;

use crate::client::Connection;
use crate::driver::Duplex;
use crate::endpoint::Endpoint;
use crate::settings::{Settings, Tenant};
use crate::status::Status;
use crate::writer::Neighbours;

/// The connections to one worker, opened as they are needed.
#[derive(Debug)]
pub struct Connections {
    endpoint: Endpoint,
    settings: Settings,
    token: Option<String>,
    first: Connection,
    apart: bool,
    /// Those that carry executions.
    lanes: Mutex<Vec<Connection>>,
}

impl Connections {
    /// `first` is where Manage goes, and executions too when the worker announced its `features` to have
    /// [`STREAM_WINDOWS`](crate::STREAM_WINDOWS) among them. Others are made as `first` was.
    pub fn new(
        first: Connection,
        endpoint: &Endpoint,
        settings: &Settings,
        token: Option<&str>,
        features: &[String],
    ) -> Self {
        let apart = features.iter().any(|feature| feature == crate::STREAM_WINDOWS);
        let lanes = Mutex::new(apart.then(|| first.clone()).into_iter().collect());
        let (endpoint, settings, token) = (endpoint.clone(), settings.clone(), token.map(String::from));
        Connections { endpoint, settings, token, first, apart, lanes }
    }

    /// Where Manage goes. While it lives the worker does.
    pub fn first(&self) -> &Connection {
        &self.first
    }

    /// Opens an `Execute` stream, on a new connection when none has a place. `deadline` becomes gRPC's own.
    ///
    /// # Errors
    /// [`Status`] when the worker can't be reached.
    ///
    /// # Cancel safety
    /// Dropping the future opens nothing.
    pub async fn execute(&self, deadline: Option<Duration>) -> Result<Duplex, Status> {
        let (lane, tenant) = match self.place() {
            Some(place) => place,
            None => {
                let others = self.lanes().iter().map(|lane| lane.tenants().count()).sum();
                let settings = self.settings.beside(others);
                let lane = Connection::connect(&self.endpoint, &settings, self.token.as_deref()).await?;
                let tenant = lane.tenants().enter();
                self.lanes().push(lane.clone());
                (lane, tenant)
            }
        };
        let neighbours = if self.apart { Neighbours::Apart } else { Neighbours::None };
        lane.execute_as(tenant, neighbours, deadline).await
    }

    /// Waits until all connections that there are now are gone. Who waits does not keep them.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let lanes = self.lanes();
        let closed: Vec<_> = std::iter::once(&self.first).chain(&*lanes).map(Connection::closed).collect();
        async move {
            for closed in closed {
                closed.await;
            }
        }
    }

    /// A place on a connection that is there. Lets go of what is closed, and of all that carry nothing but one.
    fn place(&self) -> Option<(Connection, Tenant)> {
        let most = if self.apart { self.settings.crowd.max(1) } else { 1 };
        let mut lanes = self.lanes();
        let mut spare = false;
        lanes.retain(|lane| {
            // A closed one is no spare.
            !lane.is_closed() && (lane.tenants().count() > 0 || !std::mem::replace(&mut spare, true))
        });
        let lane = lanes.iter().find(|lane| lane.tenants().count() < most)?;
        Some((lane.clone(), lane.tenants().enter()))
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.lanes.lock().expect("nothing panics while it is held")
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;
    use futures::FutureExt;
    use tokio::net::UnixListener;
    use tokio::sync::{mpsc, oneshot};
    use tokio::task::JoinHandle;

    use super::*;

    /// A worker that takes calls and answers none. Tells of each connection what ends it.
    fn mute(listener: UnixListener) -> mpsc::UnboundedReceiver<JoinHandle<()>> {
        let (tell, connections) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.expect("it speaks HTTP/2");
                    let mut calls = Vec::new();
                    while let Some(Ok(call)) = connection.accept().await {
                        calls.push(call);
                    }
                });
                // Fails only when the test is over.
                let _ = tell.send(served);
            }
        });
        connections
    }

    /// E5: the idle connection that is kept for the next execution is one that is there, not one that is closed.
    #[tokio::test]
    async fn e5_the_spare_connection_is_a_live_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("w");
        let mut served = mute(UnixListener::bind(&path).expect("a fresh socket"));
        let (endpoint, settings) = (Endpoint::Unix(path), Settings::default());
        let first = Connection::connect(&endpoint, &settings, None).await.expect("it listens");
        let connections = Connections::new(first, &endpoint, &settings, None, &[]);
        let executions = [
            connections.execute(None).await.expect("it listens"),
            connections.execute(None).await.expect("it listens"),
        ];
        drop(executions);
        let [_manage, closing, _live] =
            [served.recv().await, served.recv().await, served.recv().await].map(|served| served.expect("it listens"));
        let lane = connections.lanes()[0].clone();
        closing.abort();
        lane.closed().await;
        let _execution = connections.execute(None).await.expect("it listens");
        assert!(served.try_recv().is_err(), "the live one was let go, and another had to be made");
    }

    /// E5: a worker that announced nothing may shrink its windows while a stream runs, and a message that would have
    /// waited for all of the old one begins nevertheless.
    #[tokio::test]
    async fn e5_a_window_that_shrinks_stops_no_message() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("w");
        let listener = UnixListener::bind(&path).expect("a fresh socket");
        let (endpoint, settings) = (Endpoint::Unix(path), Settings::default());
        let (shrink, asked) = oneshot::channel();
        let (tell, shrunk) = oneshot::channel();
        let (stream_window, crowded, connection_window) =
            (settings.stream_window, settings.crowded_window, settings.connection_window);
        tokio::spawn(async move {
            let mut builder = h2::server::Builder::new();
            builder.initial_window_size(stream_window).initial_connection_window_size(connection_window);
            let (manage, _) = listener.accept().await.expect("it connects");
            let mut manage = builder.handshake::<_, Bytes>(manage).await.expect("it speaks HTTP/2");
            tokio::spawn(async move { while manage.accept().await.is_some() {} });
            let (lane, _) = listener.accept().await.expect("it connects");
            let mut lane = builder.handshake::<_, Bytes>(lane).await.expect("it speaks HTTP/2");
            let mut ping = lane.ping_pong().expect("it is asked for once");
            let _call = lane.accept().await;
            let asked = asked.fuse();
            tokio::pin!(asked);
            while !tokio::select! {
                _ = &mut asked => true,
                _ = lane.accept() => false,
            } {}
            lane.set_initial_window_size(crowded).expect("the first change");
            let round_trips = async {
                // The first may pass the settings.
                for _ in 0..2 {
                    ping.ping(h2::Ping::opaque()).await.expect("it answers");
                }
                tell.send(()).expect("it is waited for");
                std::future::pending::<()>().await
            };
            tokio::pin!(round_trips);
            while tokio::select! {
                () = &mut round_trips => false,
                next = lane.accept() => next.is_some(),
            } {}
        });
        let first = Connection::connect(&endpoint, &settings, None).await.expect("it listens");
        let connections = Connections::new(first, &endpoint, &settings, None, &[]);
        let mut execution = connections.execute(None).await.expect("it listens");
        poll_fn(|cx| execution.writer.poll_room(cx, 0)).await.expect("it is on the wire");
        let mut room = |len| poll_fn(|cx| execution.writer.poll_room(cx, len)).now_or_never();
        assert!(matches!(room(0), Some(Ok(()))), "the window is free, and known");
        shrink.send(()).expect("it waits");
        shrunk.await.expect("it says so");
        assert!(matches!(room(crowded as usize), Some(Ok(()))), "all of the window that there is is free");
    }
}
