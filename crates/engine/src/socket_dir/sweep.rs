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
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread::{self, JoinHandle};

use rustix::fs::{AtFlags, Dir, fstat, unlinkat};
use rustix::process::geteuid;

use super::debt::{self, Owed};
use super::lock::{Locking, is_at, lock, open};
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

/// Sweeps `base` on a thread of its own, which nobody needs to wait for; `None` when there is none to be had.
pub(super) fn in_background(base: &Path) -> Option<JoinHandle<()>> {
    let base = base.to_owned();
    let swept = thread::Builder::new().name("anyudf-sweep".into()).spawn(move || match sweep(&base) {
        Ok(swept) if swept == Swept::default() => {}
        Ok(Swept { removed, cleaned_up }) => {
            tracing::info!(base = %base.display(), removed, cleaned_up, "swept what dead engines left behind (D3)");
        }
        Err(error) => tracing::warn!(base = %base.display(), %error, "cannot look for what dead engines left behind"),
    });
    let refused = |error: &io::Error| tracing::warn!(%error, "no thread to look for what dead engines left behind");
    swept.inspect_err(refused).ok()
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
    // Not a directory, a link, closed to us, or gone meanwhile: none of ours.
    let Ok(directory) = open(path) else { return Ok(Settled::Nothing) };
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

fn names(directory: impl AsFd) -> io::Result<Vec<CString>> {
    let entries = Dir::read_from(directory)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_owned()));
    let names: io::Result<Vec<_>> = names.collect();
    Ok(names?.into_iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")).collect())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tempfile::TempDir;

    use super::*;
    use crate::socket_dir::SocketDir;

    /// Puts something into a directory.
    type Make = fn(&Path);

    const RECORD: &str = "# anyudf clean-up 1 60\necho ran >> \"${0%/*}/../ran\"\n";

    /// A base directory with one private directory in it, as `make` leaves it, which nobody owns.
    fn planted(name: &str, make: impl FnOnce(&Path)) -> (TempDir, PathBuf) {
        let base = tempfile::tempdir().expect("a directory");
        let path = base.path().join(name);
        fs::create_dir(&path).expect("it may be written");
        mode(&path, 0o700);
        make(&path);
        (base, path)
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    fn record(path: &Path, text: &str) {
        fs::write(path.join("clean-up"), text).expect("it may be written");
        mode(&path.join("clean-up"), 0o600);
    }

    fn ran(base: &TempDir) -> usize {
        fs::read_to_string(base.path().join("ran")).unwrap_or_default().lines().count()
    }

    /// D3, D5: what a dead engine left is removed, and what it owes is run, wherever it was killed.
    #[test]
    fn d3_what_a_dead_engine_left_is_removed() {
        let sockets: Make = |path| fs::write(path.join("0123456789abcdef.sock"), "").expect("it may be written");
        let unfinished: Make = |path| fs::write(path.join("clean-up.new"), RECORD).expect("it may be written");
        let owing: Make = |path| record(path, RECORD);
        let cases = [(sockets, 0), (unfinished, 0), (owing, 1), (|_| {}, 0)];
        for (make, cleaned_up) in cases {
            let (base, path) = planted("anyudf-Ab3dEf", make);
            let swept = sweep(base.path()).expect("it may be read");
            assert_eq!(swept, Swept { removed: 1 - cleaned_up, cleaned_up });
            assert_eq!(ran(&base), cleaned_up);
            assert!(!path.exists());
        }
    }

    /// D3: nothing is trusted for its name: what no engine of ours made, or what others could have, is left as it is.
    #[test]
    fn d3_what_is_not_ours_is_left_alone() {
        let cases: [(&str, Make); 9] = [
            ("anyudf-backups", |path| record(path, RECORD)),
            ("anyudf-a.b.cd", |path| record(path, RECORD)),
            ("anyudf-others", |path| {
                record(path, RECORD);
                mode(path, 0o755);
            }),
            ("anyudf-photos", |path| fs::write(path.join("holiday.jpg"), "").expect("it may be written")),
            ("anyudf-nested", |path| fs::create_dir(path.join("a.sock")).expect("it may be written")),
            ("anyudf-future", |path| record(path, "# anyudf clean-up 2 60\necho ran >> ran\n")),
            ("anyudf-noline", |path| record(path, "# anyudf clean-up 1 ")),
            ("anyudf-public", |path| {
                record(path, RECORD);
                mode(&path.join("clean-up"), 0o644);
            }),
            ("anyudf-linked", |path| {
                let elsewhere = path.parent().expect("a base").join("elsewhere");
                fs::write(&elsewhere, RECORD).expect("it may be written");
                mode(&elsewhere, 0o600);
                symlink(elsewhere, path.join("clean-up")).expect("it may be written");
            }),
        ];
        for (name, make) in cases {
            let (base, path) = planted(name, make);
            let before: Vec<OsString> = entries(&path);
            assert_eq!(sweep(base.path()).expect("it may be read"), Swept::default(), "{name}");
            assert_eq!(entries(&path), before, "{name}");
            assert_eq!(ran(&base), 0, "{name}");
        }

        // A link to a directory that would be ours, and a directory that is another user's.
        let (elsewhere, theirs) = planted("anyudf-Target", |path| record(path, RECORD));
        let (base, _) = planted("anyudf-Foreig", |path| record(path, RECORD));
        symlink(&theirs, base.path().join("anyudf-SymLnk")).expect("it may be written");
        // Only root can give a directory away, and only others have one that is not theirs.
        let foreign = std::os::unix::fs::chown(base.path().join("anyudf-Foreig"), Some(12345), None).is_ok();
        let expected = if foreign { Swept::default() } else { Swept { removed: 0, cleaned_up: 1 } };
        assert_eq!(sweep(base.path()).expect("it may be read"), expected);
        assert!(theirs.exists());
        assert_eq!(ran(&elsewhere), 0);
    }

    fn entries(path: &Path) -> Vec<OsString> {
        fs::read_dir(path).expect("it is there").map(|entry| entry.expect("an entry").file_name()).collect()
    }

    /// D3: a living engine's directory is left alone, also when it is being made in the very moment of a sweep.
    #[test]
    fn d3_a_directory_that_is_being_made_is_not_swept() {
        let base = tempfile::tempdir().expect("a directory");
        let made = AtomicBool::new(false);
        let living = thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !made.load(Ordering::Acquire) {
                        // What is removed under it is an error in the log, and no other.
                        let _ = sweep(base.path());
                    }
                });
            }
            let living: Vec<_> = (0..200).map(|_| SocketDir::new(Some(base.path()), 16)).collect();
            made.store(true, Ordering::Release);
            living
        });
        let living: Vec<_> = living.into_iter().map(|dir| dir.expect("a directory")).collect();
        for dir in &living {
            let path = dir.socket("a").path().parent().expect("a directory").to_owned();
            assert!(path.exists());
        }
        assert_eq!(sweep(base.path()).expect("it may be read"), Swept::default());
        drop(living);
        assert!(entries(base.path()).is_empty());
    }
}
