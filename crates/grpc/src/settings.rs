//! The sizes of a connection: windows, frames, limits.

/// How much may be under way, per stream and in one message. The defaults were chosen by measurement; see `docs/data-path.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes a peer may have under way on one stream before its reader takes some (E5). 8 MiB by default.
    pub stream_window: u32,
    /// Bytes a peer may have under way on all streams of a connection together. Far more than any number of stalled
    /// streams can hold, so that none of them stops another or Manage (E5, M2). 2 GiB - 1 by default, the most HTTP/2 has.
    pub connection_window: u32,
    /// The largest HTTP/2 frame we accept, from 16,384 to 16,777,215. A message inside one frame is not copied on
    /// receipt. 8 MiB by default.
    pub max_frame: u32,
    /// The largest message we accept, in bytes (P7). 128 MiB by default.
    pub max_message: usize,
    /// Bytes handed to HTTP/2 and not yet on the socket before we wait. 8 MiB by default.
    pub send_buffer: usize,
    /// The most streams a peer may have open at once on one connection. 1,024 by default.
    pub max_streams: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            stream_window: 8 << 20,
            connection_window: (1 << 31) - 1,
            max_frame: 8 << 20,
            max_message: 128 << 20,
            send_buffer: 8 << 20,
            max_streams: 1_024,
        }
    }
}
