//! The watchdog: a shell that outlives the engine (D3).
//!
//! It waits at the other end of a socket, which the system closes when the engine ends, by whatever cause: SIGKILL, a
//! signal nobody handles, a panic, `exit`; a forked child has no share in it. Then it ends the process groups it was told
//! of, runs the clean-up that is owed, and removes the directory. It holds the directory's lock all the while, because the
//! lock is its standard output.
//!
//! Nothing secret is in its command line or environment: what it runs is the record in the directory (D13).

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::net::{SendFlags, send};

use super::unshared::Unshared;

const SHELL: &str = "/bin/sh";

const SCRIPT: &str = include_str!("watchdog.sh");

/// A running watchdog, as its engine sees it. Dropping it closes the line, and the watchdog acts.
#[derive(Debug)]
pub(super) struct Watchdog {
    process: Child,
    line: Unshared,
}

impl Watchdog {
    /// Starts one for `directory`, whose `lock` it shares.
    pub(super) fn start(directory: &Path, lock: Option<&Unshared>) -> io::Result<Self> {
        let (line, end) = Unshared::pair()?;
        // A watchdog that does not read must not stall the engine.
        rustix::io::ioctl_fionbio(&line, true)?;
        #[cfg(target_vendor = "apple")]
        rustix::net::sockopt::set_socket_nosigpipe(&line, true)?;
        let process = spawn(directory, lock, end.into())?;
        Ok(Watchdog { process, line })
    }

    #[cfg(test)]
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// There is a new process group.
    pub(super) fn watch(&self, group: u32) -> io::Result<()> {
        self.say(&format!("watch {group}\n"))
    }

    /// The group is dead, and its number about to be anybody's.
    pub(super) fn forget(&self, group: u32) -> io::Result<()> {
        self.say(&format!("forget {group}\n"))
    }

    /// It is not needed any more, and is gone when this returns: whoever has closed everything finds no process left.
    pub(super) fn dismiss(mut self) {
        // It waits for us and has no children, so its end is a matter of microseconds. It fails when it is dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// From here on the directory is its own.
    pub(super) fn hand_over(self) {
        drop(self.line);
        reap(self.process);
    }

    /// Ends it at once, without its doing anything.
    pub(super) fn kill(mut self) {
        // It fails when the watchdog is dead already.
        let _ = self.process.kill();
        self.hand_over();
    }

    fn say(&self, words: &str) -> io::Result<()> {
        // A host program that is no Rust program may not ignore SIGPIPE.
        #[cfg(not(target_vendor = "apple"))]
        let flags = SendFlags::NOSIGNAL;
        #[cfg(target_vendor = "apple")]
        let flags = SendFlags::empty();
        let said = rustix::io::retry_on_intr(|| send(&self.line, words.as_bytes(), flags))?;
        if said == words.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}

/// Starts a watchdog over the directory of an engine that is gone: it acts at once.
pub(super) fn settle(directory: &Path, lock: Option<&Unshared>) -> io::Result<Child> {
    spawn(directory, lock, Stdio::null())
}

fn spawn(directory: &Path, lock: Option<&Unshared>, line: Stdio) -> io::Result<Child> {
    let lock = match lock {
        Some(lock) => lock.as_fd().try_clone_to_owned()?.into(),
        None => Stdio::null(),
    };
    let mut command = Command::new(SHELL);
    command.args(["-c", SCRIPT, "anyudf-watchdog"]).arg(directory);
    // A group of its own: a terminal's Ctrl-C is for the engine, and it ends by killing its group.
    command.process_group(0).stdin(line).stdout(lock).stderr(Stdio::null()).spawn()
}

/// Lets a child be reaped when it ends, without waiting here.
pub(super) fn reap(mut process: Child) {
    // Without a thread it stays a zombie until this process ends: nothing worse.
    let _ = thread::Builder::new().name("anyudf-watchdog".into()).spawn(move || process.wait());
}
