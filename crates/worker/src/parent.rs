//! Noticing that whoever started this worker is gone (P4).
//!
//! Watched is the parent process: by a pidfd where the system has them, by its id otherwise. Not by
//! `PR_SET_PDEATHSIG`, which fires when the *thread* ends that started us, and kills healthy workers.
//!
//! Behind a launcher script the parent is the script, and the engine may die while the script lives on and waits for us.
//! An engine of ours starts each worker in a process group of its own (D4), whose leader is then the script; so the
//! leader and the leader's parent are watched as well. An engine of ours is told by the token it sets (P9); other
//! engines are not known to make groups, and what started *them* may end without them.

use std::time::Duration;

use rustix::process::{Pid, getpgrp, getpid, getppid};

/// How often an id is looked at where there is no pidfd.
const POLL: Duration = Duration::from_millis(500);

/// A process whose end is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Starter {
    /// Our parent.
    Parent(Pid),
    /// Another ancestor.
    Ancestor(Pid),
}

/// The processes to watch: `grouped` when an engine of ours has started us.
pub(crate) fn starters(grouped: bool) -> Vec<Starter> {
    let parent = getppid();
    let mut starters: Vec<_> = parent.map(Starter::Parent).into_iter().collect();
    let leader = getpgrp();
    // A leader that is gone, or no ancestor of ours, is the leader of somebody else's group: a shell's, say.
    if grouped && leader != getpid() && descends_from(leader) {
        let others = [Some(leader), parent_of(leader)];
        let others = others.into_iter().flatten().filter(|pid| Some(*pid) != parent);
        starters.extend(others.map(Starter::Ancestor));
    }
    starters
}

/// Whether a process is our parent, or its parent, and so on.
fn descends_from(ancestor: Pid) -> bool {
    std::iter::successors(getppid(), |pid| parent_of(*pid)).take(64).any(|pid| pid == ancestor)
}

/// Waits until one of them has ended; for ever when there are none.
pub(crate) async fn any_gone(starters: Vec<Starter>) {
    let gone: Vec<_> = starters.into_iter().map(|starter| Box::pin(gone(starter))).collect();
    if gone.is_empty() {
        std::future::pending::<()>().await;
    }
    futures::future::select_all(gone).await;
}

async fn gone(starter: Starter) {
    #[cfg(target_os = "linux")]
    if pidfd::gone(starter).await {
        return;
    }
    while is_there(starter) {
        tokio::time::sleep(POLL).await;
    }
}

fn is_there(starter: Starter) -> bool {
    match starter {
        Starter::Parent(pid) => getppid() == Some(pid),
        // No permission to signal it means that it is there.
        Starter::Ancestor(pid) => rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH),
    }
}

/// The parent of another process, where procfs tells.
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name before it is in parentheses and may hold anything, parentheses among it.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok().and_then(Pid::from_raw)
}

#[cfg(target_os = "linux")]
mod pidfd {
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::{Starter, is_there};

    /// Waits for the end of a process. `false` when this system has no pidfds to watch it by.
    pub(super) async fn gone(starter: Starter) -> bool {
        let (Starter::Parent(pid) | Starter::Ancestor(pid)) = starter;
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(error) => return error == Errno::SRCH,
        };
        // Were it gone before the descriptor was there, the id might be another's by now.
        if !is_there(starter) {
            return true;
        }
        // SAFETY: an owned descriptor stays open, and the same, until its owner is dropped, and the owner is `AsyncFd`.
        let Ok(fd) = (unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }) else { return false };
        fd.readable().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P4: our parent is watched, and procfs names the parents of others.
    #[test]
    fn p4_the_parent_is_watched() {
        let watched = starters(false);
        assert_eq!(watched, getppid().map(Starter::Parent).into_iter().collect::<Vec<_>>());
        assert!(watched.into_iter().all(is_there));
        if cfg!(target_os = "linux") {
            assert_eq!(parent_of(getpid()), getppid());
            assert!(getppid().is_some_and(descends_from));
            assert!(!descends_from(getpid()), "nobody descends from itself");
        }
    }
}
