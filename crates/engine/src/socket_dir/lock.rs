//! The lock that says that a directory's engine lives (D3).
//!
//! It is on the directory itself, and not on a file in it: so there is no moment at which the file is not there yet,
//! nothing that could be planted or replaced, and cleaners of temporary files that respect locks, as systemd's does,
//! leave the directory alone however old it is. The system lets go of it when the last process that holds it ends.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, lstat};
use rustix::io::Errno;

use super::unshared::Unshared;

/// What came of taking a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locking {
    /// It is ours.
    Locked,
    /// Somebody else has it.
    Busy,
    /// This file system has none.
    Unknown,
}

/// Opens a directory, for its lock. A forked child does not hold it.
pub(super) fn open(path: &Path) -> io::Result<Unshared> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Unshared::open(|| Ok(rustix::fs::open(path, flags, Mode::empty())?))
}

/// Takes the lock of an open directory, if nobody has it. It is held until the last copy of the descriptor is closed.
pub(super) fn lock(directory: impl AsFd) -> Locking {
    match rustix::io::retry_on_intr(|| flock(&directory, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Locking::Locked,
        Err(Errno::WOULDBLOCK) => Locking::Busy,
        Err(_) => Locking::Unknown,
    }
}

/// Whether the open directory is still the one at `path`: whoever had its lock before may have removed it.
pub(super) fn is_at(directory: impl AsFd, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (fstat(directory), lstat(path)) else { return false };
    (open.st_dev, open.st_ino) == (there.st_dev, there.st_ino)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::OwnedFd;

    use super::*;

    fn opened(path: &Path) -> OwnedFd {
        File::open(path).expect("it is ours").into()
    }

    /// D3: one at a time has the lock, a copy of the descriptor keeps it, and a directory that was removed meanwhile is
    /// known, also when another has its name.
    #[test]
    fn d3_the_lock_excludes_and_belongs_to_one_directory() {
        let base = tempfile::tempdir().expect("a directory");
        let path = base.path().join("dir");
        fs::create_dir(&path).expect("it may be written");
        let (maker, sweeper) = (opened(&path), opened(&path));
        assert_eq!(lock(&sweeper), Locking::Locked);
        assert_eq!(lock(&maker), Locking::Busy);
        assert!(is_at(&maker, &path));
        let copy = sweeper.try_clone().expect("a descriptor");
        drop(sweeper);
        assert_eq!(lock(&maker), Locking::Busy);

        // Another is there first: the first one's number would be used again.
        let other = base.path().join("other");
        fs::create_dir(&other).and_then(|()| fs::remove_dir(&path)).expect("it may be written");
        drop(copy);
        assert_eq!(lock(&maker), Locking::Locked);
        assert!(!is_at(&maker, &path));
        fs::rename(&other, &path).expect("it may be written");
        assert!(!is_at(&maker, &path));
    }
}
