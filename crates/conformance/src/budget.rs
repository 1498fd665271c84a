//! How much of what a program under test has sent may wait until somebody judges it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// In bytes: more than any case asks for at once. Beyond it nothing is read, and the program's window fills.
const MOST: u32 = 96 << 20;

/// What a message takes besides its bytes.
const OVERHEAD: usize = 256;

/// Room that all streams of a case share. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    room: Arc<Semaphore>,
    /// It was used up at some time.
    exhausted: Arc<AtomicBool>,
}

/// The room of one message, until it is dropped.
pub(crate) type Room = OwnedSemaphorePermit;

/// What came and when, with the room that it takes while nobody has judged it.
pub(crate) type Said<E> = (E, Instant, Room);

/// Where what comes on a stream goes.
#[derive(Debug)]
pub(crate) struct Teller<E> {
    pub(crate) said: mpsc::UnboundedSender<Said<E>>,
    pub(crate) budget: Budget,
}

impl<E> Teller<E> {
    /// Tells it, when there is room for its so many bytes.
    pub(crate) async fn tell(&self, event: E, bytes: usize) {
        let at = Instant::now();
        let room = self.budget.room(bytes).await;
        // Nobody listens when the case is over.
        let _ = self.said.send((event, at, room));
    }
}

impl Default for Budget {
    fn default() -> Self {
        Budget { room: Arc::new(Semaphore::new(MOST as usize)), exhausted: Arc::default() }
    }
}

impl Budget {
    /// Room for a message of so many bytes; waits until there is some.
    ///
    /// # Cancel safety
    /// Dropping the future takes no room.
    pub(crate) async fn room(&self, bytes: usize) -> Room {
        let bytes = u32::try_from(bytes + OVERHEAD).unwrap_or(MOST).min(MOST);
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes) {
            return room;
        }
        self.exhausted.store(true, Ordering::Relaxed);
        Arc::clone(&self.room).acquire_many_owned(bytes).await.expect("it is never closed")
    }

    /// What is to be told of a case in which more was sent than was judged.
    pub(crate) fn note(&self) -> Option<String> {
        let exhausted = self.exhausted.load(Ordering::Relaxed);
        exhausted
            .then(|| format!("{} MiB were sent that no step had asked for, and nothing more was read then", MOST >> 20))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn room_comes_back() {
        let budget = Budget::default();
        let half = budget.room(MOST as usize / 2).now_or_never().expect("there is room");
        assert!(budget.note().is_none());
        assert!(budget.room(MOST as usize).now_or_never().is_none(), "there is half of it");
        assert!(budget.note().expect("it was too much").starts_with("96 MiB"));
        drop(half);
        assert!(budget.room(usize::MAX - OVERHEAD).now_or_never().is_some(), "all of it is there again");
    }
}
