//! Where workers' sockets live: one private directory, gone with its last owner (D5).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use tempfile::TempDir;

use crate::error::{Error, ErrorKind};

/// The longest path that a socket address holds, in bytes without its closing zero (D5).
const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

const PREFIX: &str = "anyudf-";
const RANDOM: usize = 6;
const SUFFIX: &str = ".sock";

/// Used when the system's directory for temporary files has a name that leaves no room for a socket's.
const FALLBACK: &str = "/tmp";

/// A directory that only its owner may enter, for the sockets of workers (D5). Dropping it removes it and all in it.
#[derive(Debug)]
pub(crate) struct SocketDir {
    dir: TempDir,
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
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .rand_bytes(RANDOM)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&base)
            .map_err(|error| failed(&base, error))?;
        Ok(Arc::new(SocketDir { dir }))
    }

    /// The place for a socket called `leaf`. Nothing is created: the worker binds it.
    pub(crate) fn socket(self: &Arc<Self>, leaf: &str) -> Socket {
        Socket { path: self.dir.path().join(format!("{leaf}{SUFFIX}")), dir: Arc::clone(self) }
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
        Remains { path: self.path.clone(), dir: Arc::downgrade(&self.dir) }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Gone already is as good: workers remove their own socket when they end well (M3).
        let _ = fs::remove_file(&self.path);
    }
}

/// What a worker that was killed while it bound its socket can leave behind: a system call under way is finished, and so
/// a socket can appear after it was removed. Whoever has seen the worker's death sweeps once more.
#[derive(Debug)]
pub(crate) struct Remains {
    path: PathBuf,
    dir: Weak<SocketDir>,
}

impl Remains {
    /// Removes the socket, and the directory if nobody owns it any more. To be called after the worker's death.
    pub(crate) fn sweep(self) {
        let _ = fs::remove_file(&self.path);
        if self.dir.upgrade().is_none()
            && let Some(dir) = self.path.parent()
        {
            let _ = fs::remove_dir(dir);
        }
    }
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
    use super::*;

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
