//! The session that a thread of a run has at present, and whether it may have another.

use std::sync::{Mutex, MutexGuard};

use anyudf_engine::Control;

/// What a thread and whoever stops it agree on: no session is begun behind the back of a stop.
#[derive(Debug, Default)]
pub(super) struct Turn {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// It has begun; it may have ended since.
    Begun(Control),
    Stopped,
}

impl Turn {
    /// One in which a session has begun.
    pub(super) fn of(control: Control) -> Self {
        Turn { state: Mutex::new(State::Begun(control)) }
    }

    /// A session begins in place of the last one. It is interrupted when the run was stopped, which opens no stream if
    /// nothing was said in it yet (E1).
    pub(super) fn begin(&self, control: Control) {
        let mut state = self.lock();
        match &*state {
            State::Idle | State::Begun(_) => *state = State::Begun(control),
            State::Stopped => control.interrupt(),
        }
    }

    /// Whether nothing more is to begin.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(*self.lock(), State::Stopped)
    }

    /// Interrupts the session if there is one, and gives it back to be waited for; lets no other begin.
    pub(super) fn stop(&self) -> Option<Control> {
        match std::mem::replace(&mut *self.lock(), State::Stopped) {
            State::Begun(control) => {
                control.interrupt();
                Some(control)
            }
            State::Idle | State::Stopped => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

#[cfg(test)]
mod tests {
    use anyudf_engine::{Dispatcher, DispatcherConfig, ErrorKind, Init, Scope, WorkerPlan};

    use super::*;

    /// E1, E13: a session is interrupted whether it begins before the stop or after it.
    #[tokio::test]
    async fn e13_no_session_escapes_a_stop() {
        let plan = WorkerPlan::from(crate::test_worker::command());
        let dispatcher = Dispatcher::with_plan(plan, DispatcherConfig::default()).expect("a dispatcher");
        let session = async || dispatcher.session(Init::new("echo", ""), Scope::default()).await.expect("a worker");
        let (before, after) = (session().await, session().await);
        let turn = Turn::default();
        turn.begin(before.control());
        assert!(!turn.is_stopped());
        assert!(turn.stop().is_some(), "it is waited for");
        assert!(turn.is_stopped());
        turn.begin(after.control());
        assert!(turn.stop().is_none(), "nothing new has begun");
        for session in [before, after] {
            let error = session.init().await.map(drop).expect_err("it is over");
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        }
        dispatcher.close().await;
    }
}
