//! Where a worker listens (P2).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A socket path or a TCP port on loopback (P2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A Unix domain socket.
    Unix(PathBuf),
    /// A port on 127.0.0.1 and, where there is IPv6, on `[::1]`.
    Tcp(u16),
}

/// What `--connection` may not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is neither a socket path nor a port number from 1 to 65535 (P2)")]
pub struct EndpointError {
    given: String,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// A number is a port, anything else a path (P2).
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let refuse = || EndpointError { given: text.into() };
        if text.is_empty() {
            return Err(refuse());
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().filter(|&port| port != 0).map(Endpoint::Tcp).ok_or_else(refuse);
        }
        Ok(Endpoint::Unix(text.into()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => path.display().fmt(f),
            Endpoint::Tcp(port) => port.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P2: a number is a port, anything else a path.
    #[test]
    fn p2_a_number_is_a_port() {
        assert_eq!("50051".parse(), Ok(Endpoint::Tcp(50051)));
        assert_eq!("/tmp/w.sock".parse(), Ok(Endpoint::Unix("/tmp/w.sock".into())));
        assert_eq!("w1".parse(), Ok(Endpoint::Unix("w1".into())));
        for wrong in ["", "0", "65536", "99999999999999999999"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
