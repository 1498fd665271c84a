//! Where workers' sockets live, and what is owed for them: one private directory, gone with its last owner (D5, D3).
//!
//! Whose engine dies has no owner any more, and two others take its part, in this order:
//!
//! ```text
//!   the engine       holds the directory's lock for its life; its last owner removes the directory
//!     │ dies, or lets go while a clean-up is owed
//!   the watchdog     a shell that was started beside it and shares its lock: ends the process groups it was told of,
//!     │ dies too      runs the clean-up that is owed, removes the directory
//!   the sweep        the next dispatcher of the same user and base directory: takes the lock that nobody holds, has a new
//!                     watchdog do the same, but ends no process
//! ```
//!
//! The lock makes all three exclude each other. A directory exists for a moment before it is locked, and a sweep may come
//! just then; so whoever makes one looks afterwards whether it is still there, and makes another if it is not.
//!
//! A child that the engine forked, and that goes on without starting another program, has no share in lock and line
//! (`unshared`).
//!
//! Limits. A group that the watchdog was not told of in the instant between its start and the engine's death is left to P4. A
//! child that is forked in the instant in which a watchdog is started has a copy of the lock for as long as it lives or until
//! it starts another program, and no sweep comes meanwhile. A clean-up that is cut off, because machine or watchdog die while
//! it runs, is run again by the sweep. A dead worker whose zombie its init does not reap counts as alive until it was killed,
//! so that the clean-up comes 5 s later. Where there is no `/bin/sh` there is no watchdog, and where directories can't be
//! locked there is no sweep.

mod debt;

mod lock;

mod sweep;

mod unshared;

mod watchdog;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use tempfile::TempDir;

use crate::error::{Error, ErrorKind};
use lock::{Locking, is_at, lock, open};
use unshared::Unshared;
use watchdog::Watchdog;

pub(crate) use debt::{Debt, shell_can_set};
#[cfg(test)]
pub(crate) use sweep::sweep;

/// The longest path that a socket address holds, in bytes without its closing zero (D5).
const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

const PREFIX: &str = "anyudf-";
const RANDOM: usize = 6;
const SUFFIX: &str = ".sock";

/// Used when the system's directory for temporary files has a name that leaves no room for a socket's.
const FALLBACK: &str = "/tmp";

/// How often a directory is made when sweeps come between.
const ATTEMPTS: u32 = 16;

/// A directory that only its owner may enter, for the sockets of workers (D5). Dropping it removes it and all in it, or
/// hands it to the watchdog when a clean-up is owed (D3). Neither needs a runtime, nor waits for anything but the death of
/// a watchdog that is not needed any more, which is a matter of microseconds.
#[derive(Debug)]
pub(crate) struct SocketDir {
    // The order matters: the directory goes before its lock.
    dir: TempDir,
    /// `None` where directories cannot be locked.
    lock: Option<Unshared>,
    watch: Mutex<Watch>,
}

/// What others must know if this process ends.
#[derive(Debug, Default)]
struct Watch {
    groups: BTreeSet<u32>,
    watchdog: Option<Watchdog>,
    debt: Standing,
}

/// Whether a clean-up is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Free,
    Owing,
}

impl SocketDir {
    /// Makes one in `base`, or else in the system's directory for temporary files, with mode 0700 from the moment it
    /// exists. The names of sockets in it have at most `leaf` bytes before their suffix.
    ///
    /// # Errors
    /// [`ErrorKind::Launch`]: `SOCKET_PATH_TOO_LONG` when a socket in it would have no address, `SOCKET_DIR_FAILED` when
    /// it cannot be made.
    pub(crate) fn new(base: Option<&Path>, leaf: usize) -> Result<Arc<Self>, Error> {
        let room = MAX_SOCKET_PATH - "/".len() - PREFIX.len() - RANDOM - "/".len() - leaf - SUFFIX.len();
        let base = match base {
            Some(base) => absolute(base)?,
            None => absolute(&std::env::temp_dir()).ok().filter(|base| length(base) <= room).unwrap_or(FALLBACK.into()),
        };
        if length(&base) > room {
            let text = format!(
                "sockets in `{}` would have no address: its name has {} bytes and may have {room} (D5); give a base \
                 directory with a shorter name",
                base.display(),
                length(&base),
            );
            return Err(Error::new(ErrorKind::Launch, "SOCKET_PATH_TOO_LONG", text));
        }
        let (dir, lock) = make(&base).map_err(|error| failed(&base, error))?;
        Ok(Arc::new(SocketDir { dir, lock, watch: Mutex::default() }))
    }

    /// Starts the watchdog, if there is none: from here on this process may die in any way, and what it leaves is cleared
    /// away within seconds. Blocks for as long as starting a process takes.
    pub(crate) fn guard(&self) {
        let mut watch = self.watch();
        if watch.watchdog.is_some() {
            return;
        }
        match Watchdog::start(self.dir.path(), self.lock.as_ref()) {
            Ok(watchdog) => {
                let told = watch.groups.iter().try_for_each(|&group| watchdog.watch(group));
                watch.watchdog = Some(watchdog);
                watch.trust(told);
            }
            Err(error) => tracing::warn!(
                %error,
                "cannot start a watchdog with /bin/sh: if this process is killed, only the next dispatcher clears up (D3)"
            ),
        }
    }

    /// Registers a clean-up (D3): it is run when the last owner of this directory is gone, or this process, unless it is
    /// [settled](SocketDir::settle) before. Blocks for as long as writing a small file and starting a process take.
    ///
    /// # Errors
    /// When its record can't be written; then it is not owed.
    pub(crate) fn owe(&self, debt: &Debt) -> io::Result<()> {
        debt.write(self.dir.path())?;
        self.watch().debt = Standing::Owing;
        self.guard();
        Ok(())
    }

    /// The clean-up was run: it is not owed any more.
    pub(crate) fn settle(&self) {
        let mut watch = self.watch();
        if watch.debt == Standing::Owing {
            watch.debt = Standing::Free;
            // Gone already is as good: somebody removed the directory.
            let _ = fs::remove_file(self.dir.path().join(debt::RECORD));
        }
    }

    /// Clears up in the background what dead engines left in the same base directory (D3). Nobody needs to wait for it; its
    /// failure is a line in the log.
    pub(crate) fn sweep_beside(&self) -> Option<JoinHandle<()>> {
        sweep::in_background(self.dir.path().parent()?)
    }

    /// What is to be done for a process that has no socket here.
    pub(crate) fn remains(self: &Arc<Self>) -> Remains {
        Remains { socket: None, path: self.dir.path().to_owned(), dir: Arc::downgrade(self) }
    }

    /// The watchdog's process.
    #[cfg(test)]
    pub(crate) fn watchdog(&self) -> Option<u32> {
        self.watch().watchdog.as_ref().map(Watchdog::pid)
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place for a socket called `leaf`. Nothing is created: the worker binds it.
    pub(crate) fn socket(self: &Arc<Self>, leaf: &str) -> Socket {
        Socket { path: self.dir.path().join(format!("{leaf}{SUFFIX}")), dir: Arc::clone(self) }
    }
}

impl Watch {
    /// A watchdog that does not hear everything might one day kill a stranger. Better none: there is still the sweep.
    fn trust(&mut self, told: io::Result<()>) {
        if let Err(error) = told
            && let Some(watchdog) = self.watchdog.take()
        {
            tracing::warn!(%error, "the watchdog does not listen, and is ended");
            watchdog.kill();
        }
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        let watch = self.watch.get_mut().unwrap_or_else(PoisonError::into_inner);
        let watchdog = watch.watchdog.take();
        if watch.debt == Standing::Free {
            return watchdog.into_iter().for_each(Watchdog::dismiss);
        }
        self.dir.disable_cleanup(true);
        if let Some(watchdog) = watchdog {
            return watchdog.hand_over();
        }
        match watchdog::settle(self.dir.path(), self.lock.as_ref()) {
            Ok(watchdog) => watchdog::reap(watchdog),
            Err(error) => tracing::warn!(
                %error,
                path = %self.dir.path().display(),
                "cannot run the clean-up that is owed: that is left to the next dispatcher (D3)"
            ),
        }
    }
}

/// A worker's place in a [`SocketDir`], which it keeps alive. Dropping it removes the socket (D7).
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    dir: Arc<SocketDir>,
}

impl Socket {
    /// Where the worker is to listen.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What may still have to be removed once this socket and its directory are gone.
    pub(crate) fn remains(&self) -> Remains {
        Remains { socket: Some(self.path.clone()), ..self.dir.remains() }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Gone already is as good: workers remove their own socket when they end well (M3).
        let _ = fs::remove_file(&self.path);
    }
}

/// What a process of ours can leave behind, and who has to know of it.
///
/// A worker that was killed while it bound its socket: a system call under way is finished, and so a socket can appear
/// after it was removed. Whoever has seen the worker's death sweeps once more.
#[derive(Debug)]
pub(crate) struct Remains {
    socket: Option<PathBuf>,
    path: PathBuf,
    dir: Weak<SocketDir>,
}

impl Remains {
    /// There is a new process group, which must not outlive this process (D3).
    pub(crate) fn born(&self, group: u32) {
        if let Some(dir) = self.dir.upgrade() {
            let mut watch = dir.watch();
            watch.groups.insert(group);
            let told = watch.watchdog.as_ref().map_or(Ok(()), |watchdog| watchdog.watch(group));
            watch.trust(told);
        }
    }

    /// The group is killed, and its leader about to be reaped: to be called before that, while the number is not yet a
    /// stranger's.
    pub(crate) fn dead(&self, group: u32) {
        if let Some(dir) = self.dir.upgrade() {
            let mut watch = dir.watch();
            watch.groups.remove(&group);
            let told = watch.watchdog.as_ref().map_or(Ok(()), |watchdog| watchdog.forget(group));
            watch.trust(told);
        }
    }

    /// Removes the socket, and the directory if nobody owns it any more. To be called after the worker's death.
    pub(crate) fn sweep(self) {
        if let Some(socket) = &self.socket {
            let _ = fs::remove_file(socket);
        }
        if self.dir.upgrade().is_none() {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Makes a directory in `base` and locks it. Between the two it looks like a dead engine's, and a sweep may take it away.
fn make(base: &Path) -> io::Result<(TempDir, Option<Unshared>)> {
    for _ in 0..ATTEMPTS {
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .rand_bytes(RANDOM)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(base)?;
        let Ok(opened) = open(dir.path()) else { continue };
        match lock(&opened) {
            Locking::Locked if is_at(&opened, dir.path()) => return Ok((dir, Some(opened))),
            Locking::Locked | Locking::Busy => {}
            Locking::Unknown => return Ok((dir, None)),
        }
    }
    Err(io::Error::other("it is removed again as soon as it is made"))
}

fn length(path: &Path) -> usize {
    path.as_os_str().as_encoded_bytes().len()
}

fn absolute(base: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(base).map_err(|error| failed(base, error))
}

fn failed(base: &Path, error: std::io::Error) -> Error {
    let text = format!(
        "cannot make a directory for workers' sockets in `{}` (D5); check that it exists and may be written, or give \
         another base directory",
        base.display(),
    );
    Error::with_source(ErrorKind::Launch, "SOCKET_DIR_FAILED", text, error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::fs::{FlockOperation, flock};
    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::launcher::WorkerCommand;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").permissions().mode() & 0o7777
    }

    /// D5: the directory is private, and goes with its last owner, which a socket's worker can be.
    #[test]
    fn d5_the_directory_is_private_and_goes_with_its_last_owner() {
        let base = tempfile::tempdir().expect("a directory");
        let dir = SocketDir::new(Some(base.path()), 16).expect("a directory");
        let path = dir.dir.path().to_owned();
        assert_eq!(mode(&path), 0o700);

        let socket = dir.socket("0123456789abcdef");
        fs::write(socket.path(), "").expect("it may be written");
        drop(dir);
        assert!(socket.path().exists());
        drop(socket);
        assert!(!path.exists());
    }

    /// D7: a socket goes with its worker, also one that appeared after its owner let go.
    #[test]
    fn d7_a_late_socket_is_swept() {
        let base = tempfile::tempdir().expect("a directory");
        let dir = SocketDir::new(Some(base.path()), 16).expect("a directory");
        let socket = dir.socket("a");
        let (path, remains) = (socket.path().to_owned(), socket.remains());
        drop((socket, dir));
        let dir = path.parent().expect("it has one");
        assert!(!dir.exists());

        fs::create_dir(dir).and_then(|()| fs::write(&path, "")).expect("it may be written");
        remains.sweep();
        assert!(!dir.exists());
    }

    /// D3: a watchdog that is dead, or does not listen, is replaced: what is owed is run all the same.
    #[test]
    fn d3_a_dead_watchdog_is_replaced() {
        let base = tempfile::tempdir().expect("a directory");
        let ran = base.path().join("ran");
        let command = WorkerCommand::new("sh", ["-c", r#"echo ran >> "$0""#]);
        let command = WorkerCommand {
            arguments: command.arguments.into_iter().chain([ran.clone().into_os_string()]).collect(),
            ..command
        };
        let dir = SocketDir::new(Some(base.path()), 16).expect("a directory");
        let debt = Debt::new(&command, Duration::from_secs(60)).expect("there is a current directory");
        dir.owe(&debt).expect("it may be written");
        let path = dir.dir.path().to_owned();
        let lock = fs::File::open(&path).expect("it is ours");
        let remains = dir.remains();
        // One that is stopped reads nothing, until there is no room for another word.
        let pid = Pid::from_raw(dir.watchdog().expect("one").cast_signed()).expect("no process is zero");
        kill_process(pid, Signal::STOP).expect("it lives");
        let mut group = 1 << 30;
        while dir.watchdog().is_some() {
            group += 1;
            remains.born(group);
            remains.dead(group);
        }
        drop(dir);
        flock(&lock, FlockOperation::LockExclusive).expect("a lock");
        assert_eq!(fs::read_to_string(ran).expect("it ran"), "ran\n");
        assert!(!path.exists());
    }

    /// D5: every path fits a socket address, or the error says by how much it does not.
    #[test]
    fn d5_a_long_base_is_refused_and_a_relative_one_made_absolute() {
        let base = tempfile::tempdir().expect("a directory");
        let long = base.path().join("x".repeat(100));
        let error = SocketDir::new(Some(&long), 16).expect_err("no room");
        assert_eq!(error.condition(), "SOCKET_PATH_TOO_LONG");
        assert!(error.to_string().contains("may have 71"), "{error}");

        let missing = SocketDir::new(Some(&base.path().join("none")), 16).expect_err("no such directory");
        assert_eq!(missing.condition(), "SOCKET_DIR_FAILED");

        let room = base.path().join("y".repeat(71 - length(base.path()) - 1));
        fs::create_dir(&room).expect("it may be written");
        let dir = SocketDir::new(Some(&room), 16).expect("it fits exactly");
        assert_eq!(length(dir.socket("0123456789abcdef").path()), MAX_SOCKET_PATH);
        assert!(absolute(Path::new("here")).expect("there is a current directory").is_absolute());
    }
}
