//! A child process that cannot leak: one thread owns it from its birth to its reaping (D4, D7).
//!
//! The thread starts the process, waits for its end without reaping it, kills what is left of its group, and only then
//! reaps. Until then the process's id, which is also the group's, belongs to it, so no signal can reach a stranger. A
//! thread and not a task, so that a child also ends when no runtime is there to end it.

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::sync::{oneshot, watch};

use crate::logs::{Logs, Tail};
use crate::socket_dir::Remains;

/// How a worker process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(Option<ExitStatus>);

impl Exit {
    /// The status, or `None` when it is lost because the host program reaps, or ignores, every child.
    pub fn status(self) -> Option<ExitStatus> {
        self.0
    }

    /// Whether the process ended by itself with status 0, as a worker does after Shutdown (M3, M4).
    pub fn success(self) -> bool {
        self.0.is_some_and(|status| status.success())
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(status) => status.fmt(f),
            None => f.write_str("exit status unknown"),
        }
    }
}

/// A running child and its process group. Dropping it kills the group at once and leaves the reaping to the child's
/// thread: it does not block and needs no runtime.
#[derive(Debug)]
pub(crate) struct Child {
    pid: u32,
    leader: Arc<Leader>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Child {
    /// Starts `command` in a process group of its own, with an empty stdin and its output drained into `tail`. `remains`
    /// knows of the group while it lives, and is swept after its death.
    ///
    /// # Errors
    /// Those of starting a process, and of running out of threads or descriptors.
    ///
    /// # Cancel safety
    /// A child whose start was abandoned is killed as soon as it is there.
    pub(crate) async fn start(
        mut command: Command,
        worker: String,
        tail: Tail,
        remains: Option<Remains>,
    ) -> io::Result<Self> {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (started, starting) = oneshot::channel();
        let own = move || own(command, &worker, tail, remains, started);
        thread::Builder::new().name("anyudf-child".into()).spawn(own)?;
        starting.await.unwrap_or_else(|_| Err(io::Error::other("the thread that starts workers panicked")))
    }

    /// The process's id. It may be another process's once the child has [exited](Child::exited).
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How the child ended, if it has.
    pub(crate) fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits until the child is dead and reaped, its group killed, its output read and its socket removed.
    ///
    /// # Cancel safety
    /// Safe: it only observes.
    pub(crate) fn exited(&self) -> impl Future<Output = Exit> + Send + use<> {
        let mut exit = self.exit.clone();
        async move {
            let known = exit.wait_for(Option::is_some).await;
            // Without a word from its thread the end is certain (the handle is alive), only its status is not.
            known.ok().and_then(|exit| *exit).unwrap_or(Exit(None))
        }
    }

    /// SIGTERM to the started process alone: what it started is its own to end (D7).
    pub(crate) fn terminate(&self) {
        self.leader.signal(|leader| kill_process(leader, Signal::TERM));
    }

    /// SIGKILL to the whole group (D7).
    pub(crate) fn kill(&self) {
        self.leader.signal(|leader| kill_process_group(leader, Signal::KILL));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The process that was started, which leads its group, for as long as it is not reaped.
#[derive(Debug)]
struct Leader {
    unreaped: Mutex<Option<process::Child>>,
}

impl Leader {
    /// Signals by the leader's id, unless it is reaped and the id may be another's.
    fn signal(&self, signal: impl FnOnce(Pid) -> rustix::io::Result<()>) {
        if let Some(child) = &*self.lock() {
            // It fails only when nobody is left to be signalled.
            let _ = signal(Pid::from_child(child));
        }
    }

    /// Kills what is left of the group, and then reaps: the other way round the group's id could be a stranger's.
    fn reap(&self) -> Exit {
        let mut unreaped = self.lock();
        let Some(mut child) = unreaped.take() else { return Exit(None) };
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        Exit(child.wait().ok())
    }

    fn lock(&self) -> MutexGuard<'_, Option<process::Child>> {
        self.unreaped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The child's thread: starts it, stays until it is dead, and leaves nothing of it behind.
fn own(
    mut command: Command,
    worker: &str,
    tail: Tail,
    remains: Option<Remains>,
    started: oneshot::Sender<io::Result<Child>>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return drop(started.send(Err(error))),
    };
    // What it was started with holds secrets (D13), and is of no more use.
    drop(command);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (pid, leader_id) = (child.id(), Pid::from_child(&child));
    let leader = Arc::new(Leader { unreaped: Mutex::new(Some(child)) });
    let logs = match stdout.zip(stderr).ok_or_else(|| io::Error::other("the child has no pipes")) {
        Ok((stdout, stderr)) => Logs::drain(worker, stdout, stderr, tail),
        Err(error) => Err(error),
    };
    let logs = match logs {
        Ok(logs) => logs,
        Err(error) => {
            leader.reap();
            return drop(started.send(Err(error)));
        }
    };
    let (exit, seen) = watch::channel(None);
    if let Some(remains) = &remains {
        remains.born(pid);
    }
    // If nobody waits for it any more the handle is dropped here and now, which kills the child.
    drop(started.send(Ok(Child { pid, leader: Arc::clone(&leader), exit: seen })));

    let ended = retry_on_intr(|| waitid(WaitId::Pid(leader_id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
    if ended.is_ok() {
        // All of it is dead before the number is forgotten, and it is forgotten before it can be a stranger's.
        leader.signal(|leader| kill_process_group(leader, Signal::KILL));
    }
    if let Some(remains) = &remains {
        remains.dead(pid);
    }
    let ended = match ended {
        Ok(_) => leader.reap(),
        // The host reaped it. Its id may be anybody's, so the group cannot be killed.
        Err(_) => {
            leader.lock().take();
            Exit(None)
        }
    };
    logs.finish();
    if let Some(remains) = remains {
        remains.sweep();
    }
    exit.send_replace(Some(ended));
    tracing::debug!(worker, pid, "worker ended: {ended}");
}
