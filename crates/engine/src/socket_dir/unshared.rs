//! Descriptors that a forked child has no share in (D3).
//!
//! A fork copies every descriptor, and what the system does when the last copy is closed waits for the child: a watchdog
//! would wait for its engine to die, and a lock would say that one lives, as long as any child does that goes on without
//! starting another program. So the child lets go of them before it does anything else, whoever forked: the system calls us
//! in each `fork`, also in one that a library makes. In the child the number leads nowhere, and its owner there does not
//! close it: where no descriptor was left for a moment, the number is free, and may be a stranger's by then.
//!
//! Left are children of `clone`, `vfork` and `_Fork`, which call nobody. Who uses these starts another program as a rule, and
//! then the system closes the descriptors.

use std::cell::UnsafeCell;
use std::collections::BTreeSet;
use std::ffi::c_int;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::io::{DupFlags, dup3};

/// All that there are. Whoever has the lock knows that nobody forks.
static ALL: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// A descriptor that goes with this process, whoever was forked from it.
#[derive(Debug)]
pub(super) struct Unshared {
    process: u32,
    opened: ManuallyDrop<OwnedFd>,
}

impl Unshared {
    /// What `open` opens.
    pub(super) fn open(open: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<Self> {
        watch_forks();
        // It is known before anybody forks.
        let mut all = all();
        Ok(Unshared::known(&mut all, open()?))
    }

    /// Two sockets that are connected, of which the other is anybody's.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        watch_forks();
        let mut all = all();
        let (ours, other) = UnixStream::pair()?;
        Ok((Unshared::known(&mut all, ours.into()), other.into()))
    }

    fn known(all: &mut BTreeSet<RawFd>, opened: OwnedFd) -> Self {
        all.insert(opened.as_raw_fd());
        Unshared { process: std::process::id(), opened: ManuallyDrop::new(opened) }
    }
}

impl AsFd for Unshared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.opened.as_fd()
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        // The number is anybody's as soon as it is closed, and must not be found here then.
        let mut all = all();
        all.remove(&self.opened.as_raw_fd());
        // SAFETY: it is dropped here and nowhere else.
        unsafe { ManuallyDrop::drop(&mut self.opened) }
    }
}

fn all() -> MutexGuard<'static, BTreeSet<RawFd>> {
    // A set is whole, whatever panicked.
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the system call us at every fork.
fn watch_forks() {
    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<unsafe extern "C" fn()>,
            parent: Option<unsafe extern "C" fn()>,
            child: Option<unsafe extern "C" fn()>,
        ) -> c_int;
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the three are functions of this library, which stays where it is; they say below what they rely on.
        let refused = unsafe { pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        if refused != 0 {
            // Without memory for three pointers. Then children hold what they hold.
            let error = io::Error::from_raw_os_error(refused);
            tracing::warn!(%error, "a child that outlives this process will keep its watchdog waiting (D3)");
        }
    });
}

/// What the thread that forks has locked.
struct Forking(UnsafeCell<Option<MutexGuard<'static, BTreeSet<RawFd>>>>);

// SAFETY: it is looked into by who has the lock, and that is one thread.
unsafe impl Sync for Forking {}

static FORKING: Forking = Forking(UnsafeCell::new(None));

/// Before a fork, on the thread that forks.
unsafe extern "C" fn before() {
    let all = all();
    // SAFETY: we have the lock.
    unsafe { *FORKING.0.get() = Some(all) };
}

/// After it, in the parent, on the same thread.
unsafe extern "C" fn in_parent() {
    // SAFETY: `before` has put it there, and nobody else has the lock.
    drop(unsafe { (*FORKING.0.get()).take() });
}

/// After it, in the child, whose only thread this is. Nothing here takes memory: another thread may have been at it.
unsafe extern "C" fn in_child() {
    // SAFETY: as in `in_parent`.
    let Some(mut all) = (unsafe { (*FORKING.0.get()).take() }) else { return };
    let nowhere = UnixDatagram::unbound();
    for &number in &*all {
        // SAFETY: its owner has it open, and is not here to use it meanwhile. It is not closed here.
        let mut here = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
        let replaced = match &nowhere {
            Ok(nowhere) => dup3(nowhere, &mut here, DupFlags::CLOEXEC).is_ok(),
            Err(_) => false,
        };
        if !replaced {
            // There is no descriptor left for a moment. What counts is that this one is gone.
            drop(ManuallyDrop::into_inner(here));
        }
    }
    // What its owner does with the number in the child, and in children of this, is the owner's affair, but for closing it.
    std::mem::forget(std::mem::take(&mut *all));
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use rustix::process::{Pid, Resource, Rlimit, WaitOptions, getrlimit, setrlimit, waitpid};

    use super::*;

    unsafe extern "C" {
        fn fork() -> c_int;
        fn _exit(code: c_int) -> !;
    }

    /// D3: the other end is told that it was closed while a child lives that was forked before; in the child the number is
    /// no stranger's, and what is done with it goes nowhere.
    #[test]
    fn d3_a_forked_child_does_not_keep_it_open() {
        let (line, end) = Unshared::pair().expect("a pair");
        let mut end = UnixStream::from(end);
        let (mut leave, mut left) = UnixStream::pair().expect("a pair");
        let (mut told, mut tell) = UnixStream::pair().expect("a pair");
        // SAFETY: the child calls what may be called after a fork, and ends.
        let child = unsafe { fork() };
        if child == 0 {
            let went = rustix::io::write(&line, b"x").is_ok();
            let _ = tell.write_all(&[u8::from(went)]);
            let _ = left.read(&mut [0]);
            // SAFETY: it ends this process.
            unsafe { _exit(0) }
        }
        drop((tell, left));
        let mut went = [2];
        told.read_exact(&mut went).expect("the child says so");
        assert_eq!(went, [0]);
        drop(line);
        end.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        assert_eq!(end.read(&mut [0]).expect("it is told"), 0);

        leave.write_all(b"x").expect("the child lives");
        let child = Pid::from_raw(child).expect("it was forked");
        waitpid(Some(child), WaitOptions::empty()).expect("a child of ours");
    }

    /// D3: what a child without a free descriptor opens later under the same number is not closed with what its parent had.
    #[test]
    fn d3_a_forked_child_closes_no_strangers_file() {
        /// In a child, with a limit of its own: what `line` is dropped beside is still open.
        fn is_spared(line: Unshared) -> io::Result<bool> {
            let number = line.as_fd().as_raw_fd();
            let limit = getrlimit(Resource::Nofile);
            setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit })?;
            // SAFETY: the child calls what may be called after a fork, and ends.
            let child = unsafe { fork() };
            if child != 0 {
                let child = Pid::from_raw(child).ok_or(io::ErrorKind::Other)?;
                let (_, status) = waitpid(Some(child), WaitOptions::empty())?.ok_or(io::ErrorKind::Other)?;
                return Ok(status.exit_status() == Some(0));
            }
            setrlimit(Resource::Nofile, limit)?;
            let mut strangers = Vec::new();
            while strangers.iter().all(|stranger: &UnixDatagram| stranger.as_raw_fd() != number) {
                strangers.push(UnixDatagram::unbound()?);
            }
            drop(line);
            let spared = strangers.iter().all(|stranger| stranger.local_addr().is_ok());
            // SAFETY: it ends this process.
            unsafe { _exit(i32::from(!spared)) }
        }

        // SAFETY: the child calls what may be called after a fork, and ends.
        let child = unsafe { fork() };
        if child == 0 {
            let spared = Unshared::pair().and_then(|(line, _end)| is_spared(line));
            // SAFETY: it ends this process.
            unsafe { _exit(i32::from(!spared.unwrap_or(false))) }
        }
        let child = Pid::from_raw(child).expect("it was forked");
        let (_, status) = waitpid(Some(child), WaitOptions::empty()).expect("a child of ours").expect("it has ended");
        assert_eq!(status.exit_status(), Some(0));
    }
}
