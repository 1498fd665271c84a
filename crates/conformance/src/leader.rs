//! A program under test as the leader of a process group, which it may leave members of behind.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

/// How often it is looked whether it has ended.
const OFTEN: Duration = Duration::from_millis(2);

/// A process that leads a group of its own. It is reaped last of all, so that its number is nobody else's while its group is
/// killed (D7). Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Leader {
    child: Child,
    pid: Option<Pid>,
}

impl Leader {
    /// Of a child that was started with a process group of its own.
    pub(crate) fn new(child: Child) -> Self {
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        Leader { child, pid }
    }

    /// Its number, until it is reaped.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has. It stays unreaped.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        // Whether it was reaped is known by what it was reaped with.
        let pid = self.pid?;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(pid), look).ok()??;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(ExitStatus::from_raw(code << 8)),
            (None, Some(signal)) => Some(ExitStatus::from_raw(signal)),
            (None, None) => None,
        }
    }

    /// Waits for its end.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn exit(&self) -> ExitStatus {
        loop {
            match self.ended() {
                Some(status) => return status,
                None => sleep(OFTEN).await,
            }
        }
    }

    /// Waits for its end for so long.
    pub(crate) async fn exit_within(&self, patience: Duration) -> Option<ExitStatus> {
        timeout(patience, self.exit()).await.ok()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let (Some(_), Some(pid)) = (self.child.id(), self.pid) {
            let _ = kill_process(pid, signal);
        }
    }

    /// What is left of its group when it has ended itself, by name, where there is procfs; waits a moment for those that are
    /// ending.
    pub(crate) async fn left_behind(&self) -> Vec<String> {
        let until = Instant::now() + Duration::from_millis(300);
        loop {
            let left = self.pid.map_or_else(Vec::new, members);
            if left.is_empty() || Instant::now() >= until {
                return left;
            }
            sleep(OFTEN).await;
        }
    }

    /// Kills it and all that it has started, and waits until it is reaped.
    pub(crate) async fn kill(&mut self) {
        self.kill_group();
        let _ = timeout(Duration::from_secs(5), self.child.wait()).await;
    }

    fn kill_group(&self) {
        // Once it is reaped its number may be a stranger's.
        if let (Some(_), Some(pid)) = (self.child.id(), self.pid) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// The members of a group that live, but for its leader.
fn members(group: Pid) -> Vec<String> {
    let group = group.as_raw_nonzero().get();
    let member = |entry: io::Result<fs::DirEntry>| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, rest) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once('(')?;
        let mut rest = rest.split_whitespace();
        let (state, _, of) = (rest.next()?, rest.next()?, rest.next()?.parse::<i32>().ok()?);
        (of == group && pid != group && state != "Z").then(|| format!("{name} ({pid})"))
    };
    fs::read_dir("/proc").into_iter().flatten().filter_map(member).collect()
}
