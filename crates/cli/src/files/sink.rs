//! Where output bytes go: beside the destination until all is well, or straight into a pipe.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tempfile::NamedTempFile;

use super::error::{Error, Result, spell};

/// What a destination is, before anything is done to it.
#[derive(Debug)]
pub(super) enum Place {
    /// Standard output.
    Stdout,
    /// A pipe, a device, a descriptor: opened by this name.
    Straight(PathBuf),
    /// A regular file, there (with these permissions) or not.
    File { target: PathBuf, mode: Option<u32>, force: bool },
}

impl Place {
    /// Looks what `path` is, or would be.
    ///
    /// # Errors
    /// Where it cannot be written: see [`OutputOptions::check`](super::OutputOptions::check).
    pub(super) fn of(path: &Path, name: &str, force: bool) -> Result<Place> {
        // Opened by its name, standard output would begin anew where it is a file that somebody appends to.
        if path == Path::new("-") || path == Path::new("/dev/stdout") {
            return Ok(Place::Stdout);
        }
        let target = followed(path, name)?;
        let mode = match fs::metadata(&target) {
            Ok(there) if there.is_dir() => {
                return Err(Error::usage(format!("{name}: is a directory; give the name of a file in it")));
            }
            Ok(there) if !there.is_file() || path.starts_with("/dev/fd") || path.starts_with("/proc") => {
                return Ok(Place::Straight(path.to_owned()));
            }
            Ok(_) if !force => return Err(exists(name)),
            Ok(there) => Some(there.permissions().mode() & 0o7777),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => return Err(creating(name, &cause)),
        };
        if target.file_name().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(Error::usage(format!("{name}: is not the name of a file; give one")));
        }
        fs::metadata(directory(&target)).map_err(|cause| creating(name, &cause))?;
        Ok(Place::File { target, mode, force })
    }
}

/// The directory that a file is in.
fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A destination that is open for writing. Dropped without [`commit`](Sink::commit), a file was never there.
#[derive(Debug)]
pub(super) struct Sink {
    bytes: Bytes,
    written: u64,
    failure: Failure,
}

#[derive(Debug)]
enum Bytes {
    /// Written as a temporary file beside the destination, which takes its name when everything is in it.
    Beside {
        temporary: NamedTempFile,
        target: PathBuf,
        force: bool,
    },
    Straight(File),
}

/// The first error of a [`Sink`], kept where it can be asked for: the encoders turn it into text.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<OnceLock<(io::Error, u64)>>);

impl Failure {
    fn keep(&self, error: &io::Error, written: u64) {
        let copy = match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        // Later errors follow from the first.
        let _ = self.0.set((copy, written));
    }

    /// What went wrong with the bytes, if that is what went wrong.
    pub(super) fn error(&self, name: &str) -> Option<Error> {
        self.0.get().map(|(error, written)| writing(name, error, *written))
    }
}

impl Sink {
    /// Opens what was found.
    pub(super) fn open(place: Place, name: &str) -> Result<Sink> {
        let failed = |cause| creating(name, &cause);
        let bytes = match place {
            Place::Stdout => Bytes::Straight(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?.into()),
            Place::Straight(path) => Bytes::Straight(File::options().write(true).open(path).map_err(failed)?),
            Place::File { target, mode, force } => {
                // What the umask takes away from this is what it takes away from every new file.
                let temporary = tempfile::Builder::new()
                    .prefix(".anyudf-")
                    .suffix(".part")
                    .permissions(Permissions::from_mode(0o666))
                    .tempfile_in(directory(&target))
                    .map_err(failed)?;
                if let Some(mode) = mode {
                    temporary.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
                }
                Bytes::Beside { temporary, target, force }
            }
        };
        Ok(Sink { bytes, written: 0, failure: Failure::default() })
    }

    pub(super) fn failure(&self) -> Failure {
        self.failure.clone()
    }

    /// The temporary file, if there is one.
    pub(super) fn temporary(&self) -> Option<&Path> {
        match &self.bytes {
            Bytes::Beside { temporary, .. } => Some(temporary.path()),
            Bytes::Straight(_) => None,
        }
    }

    /// Whether a reader may be waiting for what is written.
    pub(super) fn is_straight(&self) -> bool {
        matches!(self.bytes, Bytes::Straight(_))
    }

    /// Makes what was written the destination; returns how many bytes that are.
    pub(super) fn commit(self, name: &str) -> Result<u64> {
        let Bytes::Beside { temporary, target, force } = self.bytes else {
            return Ok(self.written);
        };
        // A name must not survive a crash that the bytes do not.
        temporary.as_file().sync_all().map_err(|cause| writing(name, &cause, self.written))?;
        let renamed = if force { temporary.persist(&target) } else { temporary.persist_noclobber(&target) };
        match renamed {
            Ok(_) => Ok(self.written),
            Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Err(Error::usage(format!(
                "{name}: was made by somebody else in the meantime and is left as it is; give another name, or --force to \
                 replace it"
            ))),
            Err(lost) => Err(creating(name, &lost.error)),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.bytes {
            Bytes::Beside { temporary, .. } => temporary.as_file_mut().write(bytes),
            Bytes::Straight(file) => file.write(bytes),
        };
        match written {
            Ok(count) => self.written += count as u64,
            Err(ref error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(ref error) => self.failure.keep(error, self.written),
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file behind symbolic links: that one is replaced, as `cp` would, not the link.
fn followed(path: &Path, name: &str) -> Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_symlink() => fs::canonicalize(path).map_err(|cause| {
            Error::usage(format!(
                "{name}: is a symbolic link that leads nowhere ({}); remove it or give another name",
                spell(&cause)
            ))
        }),
        _ => Ok(path.to_owned()),
    }
}

fn exists(name: &str) -> Error {
    Error::usage(format!("{name}: exists already; give another name, or --force to replace it"))
}

fn creating(name: &str, cause: &io::Error) -> Error {
    let parent = || Path::new(name).parent().map(|parent| parent.display().to_string()).unwrap_or_default();
    match cause.kind() {
        // Such as /proc.
        io::ErrorKind::NotFound if Path::new(&parent()).is_dir() => {
            Error::usage(format!("{name}: the system lets nobody make a file in {}; write somewhere else", parent()))
        }
        io::ErrorKind::NotFound => Error::usage(format!("{name}: there is no directory {}; make it first", parent())),
        io::ErrorKind::NotADirectory => Error::usage(format!("{name}: {} is no directory; check the path", parent())),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::data(format!(
            "{name}: not allowed to write there ({}); check the permissions of its directory",
            spell(cause)
        )),
        io::ErrorKind::InvalidFilename => Error::usage(format!("{name}: the name is too long; give a shorter one")),
        _ => writing(name, cause, 0),
    }
}

/// Writing bytes failed, after so many of them.
pub(super) fn writing(name: &str, cause: &io::Error, written: u64) -> Error {
    let hint = match cause.kind() {
        io::ErrorKind::BrokenPipe => return Error::broken_pipe(name),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space or write somewhere else",
        io::ErrorKind::FileTooLarge => "raise the limit (ulimit -f) or write somewhere else",
        _ => "check the disk or write somewhere else",
    };
    Error::data(format!("{name}: cannot be written after {written} bytes: {}; {hint}", spell(cause)))
}
