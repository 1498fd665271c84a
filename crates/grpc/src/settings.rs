//! The sizes of a connection: windows, frames, limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::writer::Neighbours;

/// The feature of a peer whose streams never wait for each other (M6): its connection's window is larger than all its
/// streams' together. A worker announces it in its heartbeat, an engine in the metadata `anyudf-features` of Execute.
pub const STREAM_WINDOWS: &str = "stream_windows";

/// How much may be under way, per stream and in one message. The defaults were chosen by measurement; see `docs/data-path.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes a peer may have under way on one stream before its reader takes some (E5). 8 MiB by default, so that
    /// messages of 4 MiB find room as a whole and arrive in one frame.
    pub stream_window: u32,
    /// How many executions have the full stream window. An engine of ours opens another connection for more, with
    /// [`crowded_window`](Settings::crowded_window); on a connection from an engine that does not, all get that from there
    /// on, so that together they never fill the connection's. 64 by default.
    pub crowd: usize,
    /// The stream window on a crowded connection, and on those that are opened when there are many executions already.
    /// 3 MiB by default.
    pub crowded_window: u32,
    /// Bytes a peer may have under way on all streams of a connection together. Far more than any number of stalled
    /// streams can hold, so that none of them stops another or Manage (E5, M2). 2 GiB - 1 by default, the most HTTP/2 has.
    pub connection_window: u32,
    /// The largest HTTP/2 frame we accept, from 16,384 to 16,777,215. A message inside one frame is not copied on
    /// receipt. 8 MiB by default.
    pub max_frame: u32,
    /// The largest message we accept, in bytes (P7). 128 MiB by default.
    pub max_message: usize,
    /// Bytes handed to HTTP/2 and not yet on the socket before we wait. 8 MiB by default, as the stream's window.
    pub send_buffer: usize,
    /// The most streams a peer may have open at once on one connection. 320 by default: the 256 that a worker serves at
    /// once (P10), and some that wait.
    pub max_streams: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            stream_window: 8 << 20,
            crowd: 64,
            crowded_window: 3 << 20,
            connection_window: (1 << 31) - 1,
            max_frame: 8 << 20,
            max_message: 128 << 20,
            send_buffer: 8 << 20,
            max_streams: 320,
        }
    }
}

impl Settings {
    /// The same for a connection that is opened when there are `executions` on others already: many get a smaller window
    /// each, so that they do not hold so much more memory together.
    pub(crate) fn beside(&self, executions: usize) -> Self {
        let stream_window = match executions < self.crowd {
            true => self.stream_window,
            false => self.stream_window.min(self.crowded_window),
        };
        Settings { stream_window, ..self.clone() }
    }

    /// The most executions that one worker can serve at once: each of their windows has the 64 KiB that HTTP/2 begins
    /// with, and one connection could have to carry them all (M2, P10).
    pub const MOST_SESSIONS: usize = 16_384;

    /// The same for a worker that serves `sessions` at once (P10), at most [`MOST_SESSIONS`](Settings::MOST_SESSIONS).
    /// Above 256 every stream gets an equal, smaller share of the connection from the start.
    pub fn for_sessions(self, sessions: usize) -> Self {
        let waiting = 64;
        let streams = u32::try_from(sessions.min(Self::MOST_SESSIONS)).unwrap_or(u32::MAX).saturating_add(waiting);
        if streams <= self.max_streams {
            return self;
        }
        let share = (self.connection_window / 8 * 5 / streams).max(64 << 10);
        let stream_window = self.stream_window.min(share);
        Settings { max_streams: streams, stream_window, crowded_window: stream_window, ..self }
    }
}

/// The executions that one connection carries, and the window that each of them gets (E5, M2).
///
/// Only those of engines that did not announce `stream_windows` are counted. One that did keeps to the 64 itself (M6), and
/// waits for room in the window that it was given first: that never shrinks on its connection.
///
/// HTTP/2 opens a connection's window again in steps of up to a third of it, so stalled streams may hold two thirds:
/// 1,365 MiB. 64 streams of 8 MiB and 256 of 3 MiB hold 1,280 MiB.
#[derive(Debug)]
pub(crate) struct Crowd {
    strangers: Tenants,
    /// Whether an engine announced itself here.
    announced: bool,
    window: u32,
}

impl Crowd {
    pub(crate) fn new(settings: &Settings) -> Self {
        Crowd { strangers: Tenants::default(), announced: false, window: settings.stream_window }
    }

    /// Takes one more in; it leaves when the tenant is dropped.
    pub(crate) fn enter(&mut self, neighbours: Neighbours) -> Tenant {
        if neighbours == Neighbours::Unknown {
            return self.strangers.enter();
        }
        self.announced = true;
        Tenants::default().enter()
    }

    /// The window that streams should have now, when it is not the one they have. Falls at `crowd` and rises again at
    /// half of it, so that it does not flutter.
    pub(crate) fn change(&mut self, settings: &Settings) -> Option<u32> {
        let streams = self.strangers.count();
        let crowded = settings.crowded_window.min(settings.stream_window);
        let window = match streams {
            many if many > settings.crowd && !self.announced => crowded,
            few if few <= settings.crowd / 2 => settings.stream_window,
            _ => self.window,
        };
        (std::mem::replace(&mut self.window, window) != window).then_some(window)
    }
}

/// Counts the executions on a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenants(Arc<AtomicUsize>);

impl Tenants {
    /// Takes one more in; it leaves when the tenant is dropped.
    pub(crate) fn enter(&self) -> Tenant {
        self.0.fetch_add(1, Ordering::Relaxed);
        Tenant { here: self.clone(), everywhere: None }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One execution on a connection, and perhaps among those on all connections.
#[derive(Debug)]
pub(crate) struct Tenant {
    here: Tenants,
    everywhere: Option<Tenants>,
}

impl Tenant {
    /// Counts it among these, too.
    pub(crate) fn beside(self, everywhere: &Tenants) -> Self {
        everywhere.0.fetch_add(1, Ordering::Relaxed);
        let here = self.here.clone();
        here.0.fetch_add(1, Ordering::Relaxed);
        Tenant { here, everywhere: Some(everywhere.clone()) }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        for counted in std::iter::once(&self.here).chain(&self.everywhere) {
            counted.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E5, M2: a crowded connection gives each stream less, and gives it back when the crowd is gone.
    #[test]
    fn e5_m2_a_crowd_shares_the_connection() {
        let settings = Settings { crowd: 4, ..Settings::default() };
        let mut crowd = Crowd::new(&settings);
        let mut tenants: Vec<_> = (0..4).map(|_| crowd.enter(Neighbours::Unknown)).collect();
        assert_eq!(crowd.change(&settings), None);
        tenants.push(crowd.enter(Neighbours::Unknown));
        assert_eq!(crowd.change(&settings), Some(3 << 20));
        assert_eq!(crowd.change(&settings), None, "said once");
        tenants.truncate(3);
        assert_eq!(crowd.change(&settings), None, "not yet");
        tenants.truncate(2);
        assert_eq!(crowd.change(&settings), Some(8 << 20));
    }

    /// M2: by default all streams together can't fill the connection's window.
    #[test]
    fn m2_stalled_streams_leave_room_on_the_connection() {
        for sessions in [1, 256, 257, 1_000, Settings::MOST_SESSIONS] {
            let settings = Settings::default().for_sessions(sessions);
            assert!(settings.max_streams as usize > sessions);
            let full = settings.crowd as u64 * u64::from(settings.stream_window);
            let rest = (u64::from(settings.max_streams) - settings.crowd as u64) * u64::from(settings.crowded_window);
            assert!(full + rest < u64::from(settings.connection_window) / 3 * 2, "{sessions} sessions");
        }
    }
}
