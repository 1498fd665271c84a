//! What engines left behind that were killed, watchdog and all: directories whose lock nobody holds (D3).
//!
//! The base directory may be everybody's, so nothing in it is trusted by its name: a directory is looked at only if it is
//! one, no link, ours, closed to others, and holds nothing that an engine of ours does not make. The lock decides between
//! two sweepers, and between a sweeper and an engine that is just making its directory (see [`SocketDir`]). A clean-up is
//! run by a watchdog, which takes the lock over: it goes on when the sweeper dies.
//!
//! No process is ended here: a dead engine's numbers may be anybody's by now, and workers end by themselves (P4).
//!
//! [`SocketDir`]: super::SocketDir

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstat, open, unlinkat};
use rustix::process::geteuid;

use super::debt::{self, Owed};
use super::lock::{Locking, is_at, lock};
use super::{PREFIX, RANDOM, SUFFIX, watchdog};

/// Clean-ups that one sweep runs, one after another. What is left is the next dispatcher's.
const MAX_CLEAN_UPS: usize = 16;

/// What a sweep did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Directories that owed nothing, and were removed.
    pub(crate) removed: usize,
    /// Directories whose clean-up was run.
    pub(crate) cleaned_up: usize,
}

/// Sweeps `base` on a thread of its own: nobody waits for it.
pub(super) fn in_background(base: &Path) {
    let base = base.to_owned();
    let swept = thread::Builder::new().name("anyudf-sweep".into()).spawn(move || match sweep(&base) {
        Ok(swept) if swept == Swept::default() => {}
        Ok(Swept { removed, cleaned_up }) => {
            tracing::info!(base = %base.display(), removed, cleaned_up, "swept what dead engines left behind (D3)");
        }
        Err(error) => tracing::warn!(base = %base.display(), %error, "cannot look for what dead engines left behind"),
    });
    if let Err(error) = swept {
        tracing::warn!(%error, "no thread to look for what dead engines left behind");
    }
}

/// Sweeps `base`, and waits for the clean-ups.
pub(crate) fn sweep(base: &Path) -> io::Result<Swept> {
    let mut swept = Swept::default();
    for entry in fs::read_dir(base)? {
        let path = entry?.path();
        if !path.file_name().is_some_and(is_name) || swept.cleaned_up == MAX_CLEAN_UPS {
            continue;
        }
        match settle(&path) {
            Ok(Settled::Nothing) => {}
            Ok(Settled::Removed) => swept.removed += 1,
            Ok(Settled::CleanedUp) => swept.cleaned_up += 1,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot remove what a dead engine left behind")
            }
        }
    }
    Ok(swept)
}

enum Settled {
    Nothing,
    Removed,
    CleanedUp,
}

/// Does what the engine of one directory would have done, if that is dead.
fn settle(path: &Path) -> io::Result<Settled> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Not a directory, a link, closed to us, or gone meanwhile: none of ours.
    let Ok(directory) = open(path, flags, Mode::empty()) else { return Ok(Settled::Nothing) };
    let about = fstat(&directory)?;
    if about.st_uid != geteuid().as_raw() || about.st_mode & 0o077 != 0 {
        return Ok(Settled::Nothing);
    }
    // Where there are no locks nobody is known to be dead.
    if !matches!(lock(&directory), Locking::Locked) || !is_at(&directory, path) {
        return Ok(Settled::Nothing);
    }
    let names = names(&directory)?;
    if !names.iter().all(|name| is_ours(name)) {
        tracing::debug!(path = %path.display(), "left alone: it holds what no engine makes");
        return Ok(Settled::Nothing);
    }
    match debt::read(&directory)? {
        Owed::Nothing => {
            for name in &names {
                unlinkat(&directory, name, AtFlags::empty())?;
            }
            fs::remove_dir(path)?;
            Ok(Settled::Removed)
        }
        Owed::CleanUp => {
            tracing::info!(path = %path.display(), "running the clean-up that a dead engine owes (D3)");
            let mut watchdog = watchdog::settle(path, Some(&directory))?;
            // From here on the lock is the watchdog's alone.
            drop(directory);
            watchdog.wait()?;
            Ok(Settled::CleanedUp)
        }
        Owed::Unknown => {
            tracing::warn!(path = %path.display(), "left alone: the clean-up that it owes is none of this version's");
            Ok(Settled::Nothing)
        }
    }
}

/// Whether an engine of ours could have given a directory this name.
fn is_name(name: &OsStr) -> bool {
    let random = name.as_bytes().strip_prefix(PREFIX.as_bytes());
    random.is_some_and(|random| random.len() == RANDOM && random.iter().all(u8::is_ascii_alphanumeric))
}

/// Whether it is the name of something that is made in such a directory.
fn is_ours(name: &CStr) -> bool {
    let name = name.to_bytes();
    name.ends_with(SUFFIX.as_bytes()) || [debt::RECORD, debt::UNFINISHED].iter().any(|ours| name == ours.as_bytes())
}

fn names(directory: &OwnedFd) -> io::Result<Vec<CString>> {
    let entries = Dir::read_from(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_owned()));
    let names: io::Result<Vec<_>> = names.collect();
    Ok(names?.into_iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")).collect())
}
