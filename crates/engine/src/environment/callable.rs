//! Running one of an environment's programs, as a worker is run: in a group of its own, with an empty stdin, its output
//! drained (D3, D4).

use std::sync::Weak;
use std::time::Duration;

use tokio::time::timeout;

use crate::child::Child;
use crate::error::{Error, ErrorKind};
use crate::launcher::{Role, WorkerCommand};
use crate::logs::Tail;
use crate::socket_dir::SocketDir;

/// How long callables may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// For the program itself, after which its group is killed (D2).
    pub(super) timeout: Duration,
    /// For the system to reap it after that (D2).
    pub(super) reap_timeout: Duration,
}

/// Runs `command` to its end, unless `stopped` comes first. `Ok` is that it ended by itself with 0.
///
/// # Errors
/// How it ended else, and what it printed last. Its group is dead by then.
///
/// # Cancel safety
/// Dropping the future kills the group.
pub(super) async fn run(
    role: Role,
    command: &WorkerCommand,
    bounds: Bounds,
    dir: &Weak<SocketDir>,
    stopped: impl Future<Output = ()>,
) -> Result<(), Error> {
    let program = command.program.display();
    let not_started = |error: std::io::Error| {
        let text = format!("cannot start {role} `{program}`: {} (D3)", command.why_not_started(&error).1);
        Error::with_source(ErrorKind::Launch, condition(role, How::NotStarted), text, error)
    };
    let tail = Tail::default();
    // The watchdog must know of its group: it ends when the engine does.
    let remains = dir.upgrade().map(|dir| dir.remains());
    let child = command.to_command().map_err(not_started)?;
    let child = Child::start(child, role.to_string(), tail.clone(), remains).await.map_err(not_started)?;
    tracing::debug!(pid = child.pid(), %program, "{role} started");

    let exit = tokio::select! {
        biased;
        exit = timeout(bounds.timeout, child.exited()) => exit.ok(),
        () = stopped => {
            end(&child, bounds).await;
            let text = format!("{role} `{program}` was stopped, because its environment is not wanted any more (D3)");
            return Err(Error::new(ErrorKind::Cancelled, condition(role, How::Stopped), text));
        }
    };
    let Some(exit) = exit else {
        end(&child, bounds).await;
        let text = format!(
            "{role} `{program}` did not end within {:?}, and was killed (D3); run it by hand to see what it waits for, or \
             give it more time; {tail}",
            bounds.timeout,
        );
        return Err(Error::new(ErrorKind::Timeout, condition(role, How::Late), text));
    };
    if exit.success() {
        tracing::debug!(%program, "{role} ended well");
        return Ok(());
    }
    let text = format!("{role} `{program}` failed ({exit}) (D3); {tail}");
    Err(Error::new(ErrorKind::Worker, condition(role, How::Failed), text))
}

/// Kills the group, and waits until its output is read. A group that the system holds is left to its thread.
async fn end(child: &Child, bounds: Bounds) {
    child.kill();
    let _ = timeout(bounds.reap_timeout, child.exited()).await;
}

#[derive(Clone, Copy)]
enum How {
    NotStarted,
    Failed,
    Late,
    Stopped,
}

fn condition(role: Role, how: How) -> &'static str {
    match (role, how) {
        (Role::CleanUp, How::NotStarted) => "ENVIRONMENT_CLEAN_UP_NOT_STARTED",
        (Role::CleanUp, How::Failed) => "ENVIRONMENT_CLEAN_UP_FAILED",
        (Role::CleanUp, How::Late) => "ENVIRONMENT_CLEAN_UP_TIMEOUT",
        (Role::Verification, How::NotStarted) => "ENVIRONMENT_VERIFICATION_NOT_STARTED",
        (Role::Verification, How::Failed) => "ENVIRONMENT_VERIFICATION_FAILED",
        (Role::Verification, How::Late) => "ENVIRONMENT_VERIFICATION_TIMEOUT",
        (Role::Installation | Role::Worker, How::NotStarted) => "ENVIRONMENT_INSTALLATION_NOT_STARTED",
        (Role::Installation | Role::Worker, How::Failed) => "ENVIRONMENT_INSTALLATION_FAILED",
        (Role::Installation | Role::Worker, How::Late) => "ENVIRONMENT_INSTALLATION_TIMEOUT",
        (_, How::Stopped) => "ENVIRONMENT_CLOSED",
    }
}
