//! The driver: what docs/conformance-engine.md has of flows, actions and reports.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::Connection;
use super::session::{Ended, Read, Session};
use super::{Config, Failure, Reports, Summary, Termination};
use crate::mutant::{Mutant, Mutation as M};

/// Whether the kit has sent its line.
#[derive(Clone)]
struct Told(watch::Receiver<bool>);

impl Told {
    fn listen() -> Self {
        let (tell, told) = watch::channel(false);
        std::thread::spawn(move || {
            let mut line = String::new();
            // The end of the input is no line.
            if io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                tell.send_replace(true);
            }
            // As long as the process.
            loop {
                std::thread::park();
            }
        });
        Told(told)
    }

    async fn wait(&self) {
        let _ = self.0.clone().wait_for(|told| *told).await;
    }
}

/// A flow with its action, and what they need.
#[derive(Clone)]
struct Play<'a> {
    flow: &'a str,
    action: Option<&'a str>,
    /// With an idle limit.
    idles: bool,
    name: &'a str,
    told: Told,
    reports: &'a Reports,
    mutant: Mutant,
}

/// One scenario, from beginning to end.
pub(super) async fn play(place: &str, scenario: &str, mutant: Mutant, reports: &Reports) -> io::Result<()> {
    let (connection, ends) = Connection::dial(place, mutant).await?;
    let heartbeats = tokio::spawn(Arc::clone(&connection).watch());
    let (flow, action) = match scenario.split_once('/') {
        Some((flow, action)) => (flow, Some(action)),
        None => (scenario, None),
    };
    let (flow, idles) = match flow.strip_prefix("idle") {
        Some("") => ("echo", true),
        Some(flow) => (flow.trim_start_matches('-'), true),
        None => (flow, false),
    };
    let play = Play { flow, action, idles, name: "", told: Told::listen(), reports, mutant };
    match flow {
        "two" => {
            let (opened, mut is_open) = watch::channel(false);
            let a = Play { flow: "unread", action: None, name: "a", ..play.clone() };
            let b = Play { flow: "echo", name: "b", ..play };
            let second = async {
                // It is dropped when the first has ended without.
                let _ = is_open.wait_for(|open| *open).await;
                b.session(&connection, || {}).await;
            };
            tokio::join!(
                a.session(&connection, move || {
                    opened.send_replace(true);
                }),
                second
            );
        }
        "held" | "open" if action == Some("drop") => play.dropped(&connection).await,
        _ => play.session(&connection, || {}).await,
    }
    heartbeats.abort();
    let _ = heartbeats.await;
    drop(connection);
    // What was said last is still to be sent.
    let _ = timeout(Duration::from_millis(500), ends).await;
    Ok(())
}

impl Play<'_> {
    fn config(&self) -> Config {
        let length = self.action.filter(|_| self.flow == "payload").and_then(|length| length.parse::<usize>().ok());
        let payload = match length {
            Some(length) => (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect(),
            None => Bytes::from_static(b"payload"),
        };
        Config {
            payload,
            everything: self.flow == "everything",
            pipelining: self.flow == "pipelined",
            init_timeout: Duration::from_secs(3),
            cancel_timeout: Duration::from_secs(2),
            interrupt_timeout: Duration::from_secs(2),
            idle_limit: self.idles.then_some(Duration::from_millis(500)),
        }
    }

    fn report(&self, report: Value) {
        self.reports.tell(self.name, report);
    }

    fn failed(&self, call: &str, failure: &Failure) {
        // The contract reports the error of the input as that of the source.
        let call = if failure.kind == super::Kind::Source { "source" } else { call };
        let mut report =
            json!({"event": "error", "call": call, "kind": failure.kind.name(), "message": failure.message});
        if let Some(class) = &failure.class {
            report["error_class"] = json!(class);
        }
        self.report(report);
    }

    fn closed(&self, termination: Termination) {
        let reusable = match termination {
            Termination::Finished => !self.mutant.is(M::FinishedIsNotReusable),
            Termination::Cancelled => !self.mutant.is(M::CancelledIsNotReusable),
            Termination::Failed => !self.mutant.is(M::FailedIsNotReusable),
            Termination::TransportFailed => self.mutant.is(M::TransportFailedIsReusable),
            Termination::Interrupted => self.mutant.is(M::InterruptedIsReusable),
        };
        self.report(json!({"event": "closed", "termination": termination.name(), "reusable": reusable}));
    }

    async fn close(&self, session: &Session) {
        self.closed(session.close().await);
    }

    /// A session that is let go of in the middle of its flow.
    async fn dropped(&self, connection: &Arc<Connection>) {
        let (session, mut ended) = Session::new(connection, self.config());
        tokio::select! {
            // What it has of handles goes with it.
            () = self.flow(session, || {}) => {}
            () = self.told.wait() => self.gone(&mut ended).await,
        }
    }

    async fn gone(&self, ended: &mut Ended) {
        if let Ok(termination) = ended.wait_for(Option::is_some).await
            && let Some(termination) = *termination
        {
            self.closed(termination);
        }
    }

    async fn session(&self, connection: &Arc<Connection>, opened: impl FnOnce()) {
        let (session, _) = Session::new(connection, self.config());
        self.flow(session, opened).await;
    }

    /// The flow, with a handle that is its own.
    async fn flow(&self, session: Session, opened: impl FnOnce()) {
        // They end with the flow.
        let mut others = JoinSet::new();
        match self.flow {
            "process-first" => self.process(&session).await,
            "unopened" => {
                self.told.wait().await;
                act(self.action, &session).await;
            }
            "open" | "unread" => {}
            _ => {
                let (told, session, action) = (self.told.clone(), session.clone(), self.action.map(String::from));
                others.spawn(async move {
                    told.wait().await;
                    act(action.as_deref(), &session).await;
                });
            }
        }
        if self.flow == "pipelined" {
            others.spawn(self.feed(session.clone()));
        }
        if !self.init(&session).await {
            return self.close(&session).await;
        }
        opened();
        if self.flow == "init-twice" {
            self.init(&session).await;
        }
        if self.flow == "open" {
            self.told.wait().await;
            act(self.action, &session).await;
            return self.close(&session).await;
        }
        self.process(&session).await;
        if self.flow != "pipelined" {
            others.spawn(self.feed(session.clone()));
        }
        if self.flow == "unread" {
            self.told.wait().await;
            act(self.action, &session).await;
        }
        while self.read(&session).await {}
        match self.flow {
            "process-twice" => self.process(&session).await,
            "afterwards" => {
                self.close(&session).await;
                self.read(&session).await;
                session.cancel("afterwards");
            }
            _ => {}
        }
        self.close(&session).await;
    }

    async fn init(&self, session: &Session) -> bool {
        match session.init().await {
            Ok(data) => self.report(digested(json!({"event": "init"}), data.as_ref())),
            Err(failure) => {
                self.failed("init", &failure);
                return false;
            }
        }
        true
    }

    async fn process(&self, session: &Session) {
        if let Err(failure) = session.process().await {
            self.failed("process", &failure);
        }
    }

    /// Whether there may be more.
    async fn read(&self, session: &Session) -> bool {
        match session.read().await {
            Ok(Read::Data(data)) => {
                self.report(digested(json!({"event": "data"}), Some(&data)));
                return true;
            }
            Ok(Read::Done(Summary { metrics, data })) => {
                self.report(digested(json!({"event": "done", "metrics": metrics}), data.as_ref()));
            }
            Err(failure) => self.failed("read", &failure),
        }
        false
    }

    /// Sends what the flow sends, and ends the input as it does.
    fn feed(&self, session: Session) -> impl Future<Output = ()> + use<> {
        let (told, flow) = (self.told.clone(), self.flow.to_owned());
        let action = self.action.filter(|action| flow == "held" && matches!(*action, "finish" | "fail"));
        let (held, fails) = (flow == "held", action == Some("fail"));
        let waits = action.is_some();
        async move {
            for item in items(&flow) {
                if !session.send(item).await {
                    return;
                }
            }
            if held {
                told.wait().await;
            }
            match &flow[..] {
                "held" if fails => session.fail("the source failed"),
                // It waits for ever, whatever else happens.
                "held" if !waits => {}
                "source-fails" | "source-fails-at-once" => session.fail("the source failed"),
                _ => session.finish(),
            }
        }
    }
}

fn items(flow: &str) -> Vec<Bytes> {
    match flow {
        "nothing" | "source-fails-at-once" => vec![],
        "held" | "unread" | "source-fails" => vec![Bytes::from_static(b"one")],
        "flood" => vec![Bytes::from(vec![b'x'; 16 << 10]); 4096],
        _ => [b"one".as_slice(), b"two", b"three"].map(Bytes::from_static).to_vec(),
    }
}

/// What a scenario does from another task.
async fn act(action: Option<&str>, session: &Session) {
    match action {
        Some("cancel") => session.cancel("told"),
        Some("cancel-long") => session.cancel(&"x".repeat(65_536)),
        Some("cancel-twice") => {
            let other = session.clone();
            let second = tokio::spawn(async move { other.cancel("told") });
            session.cancel("told");
            let _ = second.await;
        }
        Some("close") => drop(session.close().await),
        Some("interrupt") => session.interrupt(),
        _ => {}
    }
}

fn digested(mut report: Value, data: Option<&Bytes>) -> Value {
    if let Some(data) = data {
        report["bytes"] = json!(data.len());
        report["crc32"] = json!(crc32fast::hash(data));
    }
    report
}
