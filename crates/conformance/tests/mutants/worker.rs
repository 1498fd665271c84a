//! A right worker, as small as can be: HTTP/2 by h2, gRPC and the rules by hand.
//!
//! It shares no code with the worker of this project but the types of the messages: what the kit says of the one, it
//! says of another that was written apart from it. Each rule stands in one place, where a mutation can break it.

mod arrow;
mod authority;
mod connection;
mod function;
mod metrics;
mod session;
mod stream;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::HeaderMap;
use rustix::fs::Mode;
use rustix::process::{getppid, getuid, umask};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::mutant::{Mutant, Mutation as M};

/// The longest message that is taken (P7).
const LIMIT: usize = 128 << 20;

/// How the worker was started (P1).
#[derive(Debug)]
struct Options {
    place: String,
    max_sessions: usize,
    grace: Duration,
    standalone: bool,
    token: Option<String>,
}

impl Options {
    fn read(arguments: impl Iterator<Item = String>, mutant: Mutant) -> Result<Self, String> {
        let token = std::env::var("ANYUDF_TOKEN").ok();
        let mut options = Options {
            place: String::new(),
            max_sessions: 256,
            grace: Duration::from_secs(4),
            standalone: false,
            token,
        };
        let number = |value: Option<String>| {
            value.and_then(|value| value.parse::<u64>().ok()).ok_or_else(|| "a number is missing".to_owned())
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match &argument[..] {
                "--id" => drop(arguments.next()),
                "--connection" if !options.place.is_empty() && mutant.is(M::ValueOfAnUnknownFlagIsThePlace) => {}
                "--connection" => options.place = arguments.next().unwrap_or_default(),
                "--max-sessions" => options.max_sessions = number(arguments.next())? as usize,
                "--grace" => options.grace = Duration::from_secs(number(arguments.next())?),
                "--standalone" => options.standalone = !mutant.is(M::StandaloneIsIgnored),
                other if mutant.is(M::UnknownFlagsAreRefused) => return Err(format!("what is `{other}`?")),
                _ if mutant.is(M::UnknownFlagTakesTheNext) => drop(arguments.next()),
                other if other.starts_with('/') && mutant.is(M::ValueOfAnUnknownFlagIsThePlace) => {
                    options.place = if options.place.is_empty() { other.to_owned() } else { options.place };
                }
                // A flag that is not known, or its value.
                _ => {}
            }
        }
        if options.place.is_empty() { Err("--connection is missing".into()) } else { Ok(options) }
    }
}

/// How far the worker's end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
enum Ending {
    #[default]
    Not,
    /// No new streams (M3).
    Draining,
    /// None at all (M4).
    Cancelling,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    active: u64,
    connections: usize,
    ending: Ending,
    /// The process ends: connections say goodbye.
    leaving: bool,
}

/// What all connections share.
struct Shared {
    mutant: Mutant,
    options: Options,
    state: watch::Sender<State>,
    places: Arc<Semaphore>,
    counts: metrics::Totals,
    started: Instant,
}

impl Shared {
    fn is(&self, mutation: M) -> bool {
        self.mutant.is(mutation)
    }

    fn limit(&self) -> usize {
        match self.mutant.0 {
            Some(M::LimitOfGrpc) => 4 << 20,
            Some(M::NoLimit) => u32::MAX as usize,
            _ => LIMIT,
        }
    }

    /// Whether a call does not show the token (P9).
    fn refuses(&self, headers: &HeaderMap, method: &str) -> bool {
        let Some(token) = &self.options.token else { return false };
        let shown = headers.get("anyudf-token").map_or(&b""[..], |shown| shown.as_bytes());
        let token = token.as_bytes();
        // Every byte is looked at, so that time tells nothing of the first that differs.
        let differ = shown.iter().zip(token).fold(0, |differ, (one, other)| differ | (one ^ other));
        match self.mutant.0 {
            Some(M::AnyToken) => shown.is_empty(),
            Some(M::BeginningOfTheTokenWillDo) => shown.is_empty() || differ != 0,
            Some(M::ManageNeedsNoToken) if method == "Manage" => false,
            Some(M::ManageKnowsNoToken) if method == "Manage" => true,
            _ => shown.len() != token.len() || differ != 0,
        }
    }

    fn begin_to_end(&self, ending: Ending) {
        let ending = if self.is(M::CancelSessionsIsIgnored) { Ending::Draining } else { ending };
        self.state.send_modify(|state| {
            if state.ending < ending {
                state.ending = ending;
            }
        });
    }

    /// Shutdown by Manage; whether no stream is open any more.
    async fn shut_down(&self, cancel: bool) -> bool {
        self.begin_to_end(if cancel { Ending::Cancelling } else { Ending::Draining });
        let waits = (cancel && !self.is(M::AnswerBeforeTheTerminators) && !self.is(M::CancelSessionsIsIgnored))
            || (!cancel && self.is(M::AnswerWaitsForStreams));
        if waits {
            self.settled(Ending::Not).await;
        }
        let said = self.is(M::AlwaysSettled) || (cancel && self.is(M::AnswerBeforeTheTerminators));
        said || self.state.borrow().active == 0
    }

    /// Waits until no stream is open, and the end has come so far.
    async fn settled(&self, ending: Ending) {
        // The sender is ours.
        let _ = self.state.subscribe().wait_for(|state| state.active == 0 && state.ending >= ending).await;
    }
}

/// A stream, as long as it is counted.
struct Seat(Arc<Shared>);

impl Seat {
    fn take(shared: &Arc<Shared>) -> Self {
        shared.counts.sessions.fetch_add(1, Relaxed);
        shared.state.send_modify(|state| state.active += 1);
        Seat(Arc::clone(shared))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.active -= 1);
    }
}

/// Runs the worker; returns its exit status.
pub(crate) fn run(arguments: impl Iterator<Item = String>, mutant: Mutant) -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let options = match Options::read(arguments, mutant) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return 2;
        }
    };
    let places = if mutant.is(M::AllAreServed) { 1 << 20 } else { options.max_sessions };
    let shared = Arc::new(Shared {
        mutant,
        options,
        state: watch::Sender::default(),
        places: Arc::new(Semaphore::new(places)),
        counts: metrics::Totals::default(),
        started: Instant::now(),
    });
    if shared.is(M::FullLogEndsTheWorker) && writeln!(io::stderr(), "the worker begins").is_err() {
        return 101;
    }
    if let (true, Some(token)) = (shared.is(M::TokenIsPrinted), &shared.options.token) {
        println!("calls must show the token {token}");
    }
    match runtime.block_on(live(&shared)) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("cannot serve `{}`: {error}", shared.options.place);
            1
        }
    }
}

/// What sessions have when the launcher is gone: the worker ends within 5 s (P4).
const ORPHAN_GRACE: Duration = Duration::from_secs(3);

async fn live(shared: &Arc<Shared>) -> io::Result<i32> {
    let parent = getppid();
    let mut terminate = signal(SignalKind::terminate())?;
    let socket = listen(shared).await?;
    let mut first: Option<Instant> = None;
    let mut grace = None;
    let end = if shared.is(M::NeverExits) { None } else { Some(shared.settled(Ending::Draining)) };
    let end = async {
        match end {
            Some(end) => end.await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let orphaned = async {
        while getppid() == parent {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::pin!(orphaned);
    let mut watches = !shared.options.standalone && !shared.is(M::OutlivesItsParent);
    loop {
        tokio::select! {
            () = &mut end => break,
            _ = terminate.recv() => match first {
                _ if shared.is(M::SigtermEndsAtOnce) => return Ok(0),
                None => {
                    first = Some(Instant::now());
                    let patience = if shared.is(M::NoGrace) { Duration::ZERO } else { shared.options.grace };
                    grace = Some(Instant::now() + patience).filter(|_| !shared.is(M::GraceIsEndless));
                    shared.begin_to_end(Ending::Draining);
                }
                Some(_) if shared.is(M::SecondSigtermIsIgnored) => {}
                Some(first) if first.elapsed() < Duration::from_secs(1) && !shared.is(M::ForwardedSigtermCounts) => {}
                Some(_) => return Ok(0),
            },
            () = session::until(grace) => {
                grace = None;
                shared.begin_to_end(Ending::Cancelling);
            }
            () = &mut orphaned, if watches => {
                watches = false;
                let patience = if shared.is(M::NoGraceForOrphans) { Duration::ZERO } else { shared.options.grace };
                grace = Some(Instant::now() + patience.min(ORPHAN_GRACE));
                shared.begin_to_end(Ending::Draining);
            }
        }
    }
    if let Some(socket) = socket.filter(|_| !shared.is(M::SocketStays)) {
        // Somebody may have removed it.
        let _ = fs::remove_file(socket);
    }
    // What was said is still to be sent.
    shared.state.send_modify(|state| state.leaving = true);
    let mut state = shared.state.subscribe();
    let _ = timeout(Duration::from_secs(1), state.wait_for(|state| state.connections == 0)).await;
    let signalled = first.is_some() && shared.is(M::SigtermIsAFailure);
    Ok(if signalled { 143 } else { i32::from(shared.is(M::ExitStatusIsOne)) })
}

/// Listens where it was told to; the path of the socket, if that is one (P2).
async fn listen(shared: &Arc<Shared>) -> io::Result<Option<PathBuf>> {
    let Ok(port) = shared.options.place.parse::<u16>() else {
        let path = PathBuf::from(&shared.options.place);
        let listener = bind(&path, shared)?;
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                let peer = io.peer_cred().map(|peer| peer.uid());
                if peer.is_ok_and(|uid| uid == 0 || uid == getuid().as_raw()) {
                    tokio::spawn(connected(connection::serve(io, Arc::clone(&shared)), Arc::clone(&shared)));
                }
            }
        });
        return Ok(Some(path));
    };
    for (address, without) in [("127.0.0.1", M::NoIpv4), ("::1", M::NoIpv6)] {
        let listener = match TcpListener::bind((address, port)).await {
            _ if shared.is(without) => continue,
            Ok(listener) => listener,
            Err(error) if address == "::1" && error.kind() != io::ErrorKind::AddrInUse => {
                eprintln!("no IPv6: {error}");
                continue;
            }
            Err(error) => return Err(error),
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                // Without it small messages are only late.
                let _ = io.set_nodelay(true);
                tokio::spawn(connected(connection::serve(io, Arc::clone(&shared)), Arc::clone(&shared)));
            }
        });
    }
    Ok(None)
}

async fn connected(connection: impl Future<Output = ()>, shared: Arc<Shared>) {
    shared.state.send_modify(|state| state.connections += 1);
    connection.await;
    shared.state.send_modify(|state| state.connections -= 1);
}

/// A socket for its owner alone, in place of one that nobody listens on (P6, P9).
fn bind(path: &Path, shared: &Shared) -> io::Result<UnixListener> {
    let in_use = UnixStream::connect(path).is_ok() && !shared.is(M::SocketInUseIsTaken);
    if in_use {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody answers there"));
    }
    if !shared.is(M::StaleSocketIsInTheWay) {
        // It may not be there at all.
        let _ = fs::remove_file(path);
    }
    let before = umask(if shared.is(M::SocketIsPublic) { Mode::empty() } else { Mode::RWXG | Mode::RWXO | Mode::XUSR });
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}
