//! Listening where an engine said to (P2, P6, P9).

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net as std_unix;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener};

use crate::endpoint::Endpoint;
use crate::io::Io;

/// A bound socket. Dropping it removes the file of a Unix socket, if it is still the one that was bound.
#[derive(Debug)]
pub struct Listener {
    bound: Bound,
}

#[derive(Debug)]
enum Bound {
    Unix { listener: UnixListener, path: PathBuf, inode: u64, owner: u32 },
    Tcp { v4: TcpListener, v6: Option<TcpListener> },
}

impl Listener {
    /// Binds an endpoint. A Unix socket gets mode 0600 (P9); a stale file of an earlier life is replaced (P6). A port
    /// is bound on both loopbacks; without IPv6 on the first, with a warning (P2).
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there (P6), otherwise what the system says, with the endpoint named.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        let bound = match endpoint {
            Endpoint::Unix(path) => bind_unix(path),
            Endpoint::Tcp(port) => bind_tcp(*port).await,
        };
        bound
            .map(|bound| Listener { bound })
            .map_err(|error| io::Error::new(error.kind(), format!("can't listen on {endpoint}: {error}")))
    }

    /// The next connection from a peer that may call: on a Unix socket our own user and root, told by the peer's
    /// credentials (P9).
    ///
    /// # Cancel safety
    /// Dropping the future loses no connection.
    pub(crate) async fn accept(&self) -> io::Result<Io> {
        match &self.bound {
            Bound::Unix { listener, owner, .. } => loop {
                let (stream, _) = listener.accept().await?;
                match stream.peer_cred() {
                    Ok(peer) if peer.uid() == *owner || peer.uid() == 0 => return Ok(Io::Unix(stream)),
                    Ok(peer) => tracing::warn!(uid = peer.uid(), "refused a connection of another user (P9)"),
                    Err(error) => tracing::warn!(%error, "refused a connection without credentials (P9)"),
                }
            },
            Bound::Tcp { v4, v6: None } => tcp(v4.accept().await),
            Bound::Tcp { v4, v6: Some(v6) } => {
                tokio::select! { accepted = v4.accept() => tcp(accepted), accepted = v6.accept() => tcp(accepted) }
            }
        }
    }
}

fn tcp(accepted: io::Result<(tokio::net::TcpStream, std::net::SocketAddr)>) -> io::Result<Io> {
    let (stream, _) = accepted?;
    stream.set_nodelay(true)?;
    Ok(Io::Tcp(stream))
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    remove_stale(path)?;
    let socket = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    // On Linux the file takes the socket's mode, so there is no moment at which others could connect (P9).
    #[cfg(target_os = "linux")]
    rustix::fs::fchmod(socket.as_fd(), rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    let address = rustix::net::SocketAddrUnix::new(path).map_err(|error| match error {
        rustix::io::Errno::NAMETOOLONG => io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the path has {} bytes, a socket's may have about 100", path.as_os_str().len()),
        ),
        other => other.into(),
    })?;
    rustix::net::bind(&socket, &address)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, 1024)?;
    let listener = std_unix::UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    let inode = std::fs::symlink_metadata(path)?.ino();
    let owner = rustix::process::geteuid().as_raw();
    Ok(Bound::Unix { listener: UnixListener::from_std(listener)?, path: path.into(), inode, owner })
}

/// Removes the socket file of an earlier life; anything that lives is left alone (P6).
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket (P6)"));
    }
    match std_unix::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another worker listens there (P6)")),
        Err(error) => Err(error),
    }
}

async fn bind_tcp(port: u16) -> io::Result<Bound> {
    let v4 = TcpListener::bind(("127.0.0.1", port)).await?;
    let v6 = match TcpListener::bind(("::1", port)).await {
        Ok(v6) => Some(v6),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        Err(error) => {
            tracing::warn!(%error, port, "there is no IPv6 loopback; listening on 127.0.0.1 only (P2)");
            None
        }
    };
    Ok(Bound::Tcp { v4, v6 })
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Bound::Unix { path, inode, .. } = &self.bound {
            // Another worker may have taken the path over; its socket is not ours to remove.
            if std::fs::symlink_metadata(path).is_ok_and(|found| found.ino() == *inode) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}
