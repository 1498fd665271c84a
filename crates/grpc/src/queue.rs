//! A queue counted in bytes, between a caller or user code and the task that owns a session.
//!
//! Either end may be a task or a plain thread. What was taken frees its room at once.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Makes a queue that holds about `limit` bytes: a message larger than the limit passes alone.
pub fn queue<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize) as u32);
    let room = Arc::new(Semaphore::new(limit as usize));
    let (sender, receiver) = mpsc::unbounded_channel();
    (Sender { queue: sender, room: Arc::clone(&room), limit }, Receiver { queue: receiver, room })
}

/// The end that puts in.
#[derive(Debug)]
pub struct Sender<T> {
    queue: mpsc::UnboundedSender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    limit: u32,
}

/// The other end is gone; the item comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed<T>(pub T);

impl<T> Sender<T> {
    /// Puts an item of `bytes` in, waiting for room.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone or closed.
    ///
    /// # Cancel safety
    /// The item is in the queue only when this returns `Ok`; dropping the future drops the item.
    pub async fn send(&self, item: T, bytes: usize) -> Result<(), Closed<T>> {
        let need = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.limit);
        match Arc::clone(&self.room).acquire_many_owned(need).await {
            Ok(permit) => self.queue.send((item, permit)).map_err(|error| Closed(error.0.0)),
            Err(_) => Err(Closed(item)),
        }
    }

    /// The same for a thread without a runtime.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone or closed.
    pub fn blocking_send(&self, item: T, bytes: usize) -> Result<(), Closed<T>> {
        let need = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.limit);
        // The common case needs no parking.
        match Arc::clone(&self.room).try_acquire_many_owned(need) {
            Ok(permit) => self.queue.send((item, permit)).map_err(|error| Closed(error.0.0)),
            Err(_) => block_on(self.send(item, bytes)),
        }
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        self.room.is_closed()
    }
}

/// Parks this thread until the future is ready. User code may run in an executor of its own, so none is entered here.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// The end that takes out. Dropping it wakes every sender that waits.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: mpsc::UnboundedReceiver<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

impl<T> Receiver<T> {
    /// The next item, or `None` when the queue is empty and the sender gone.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.queue.poll_recv(cx).map(|item| item.map(|(item, _)| item))
    }

    /// Takes nothing more: senders are told, what is queued is dropped.
    pub fn close(&mut self) {
        self.room.close();
        self.queue.close();
        while self.queue.try_recv().is_ok() {}
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    /// E5: the queue is bounded by bytes, and what was taken makes room.
    #[test]
    fn e5_room_is_counted_in_bytes() {
        let (sender, mut receiver) = queue(10);
        assert!(sender.send("six", 6).now_or_never().is_some());
        assert!(sender.send("six more", 6).now_or_never().is_none(), "there is room for four");
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        assert_eq!(receiver.poll_recv(&mut cx), Poll::Ready(Some("six")));
        assert!(sender.send("larger than the limit", 1_000).now_or_never().is_some(), "it passes alone");
        assert!(sender.send("one", 1).now_or_never().is_none());
    }

    /// E12: whoever waits for room is told when the other end is gone.
    #[test]
    fn e12_a_waiting_sender_is_told_of_the_end() {
        let (sender, receiver) = queue(1);
        sender.blocking_send(1, 1).expect("there is room");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| sender.blocking_send(2, 1));
            drop(receiver);
            assert_eq!(waiting.join().expect("no panic"), Err(Closed(2)));
        });
    }
}
