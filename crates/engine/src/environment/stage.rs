//! Where an environment stands, and what follows: the only place where that is decided. It does no I/O.
//!
//! ```text
//!   Untouched ──asked──▶ Register ──▶ Verify ──────────ended well──────────▶ Ready
//!       │                   │           │ anything else                        ▲
//!       │                   │           ▼                                      │
//!       │                   │        Install ──────────ended well──────────────┘
//!       │                   │           │ anything else
//!       │                   └────▶ Failed, for good
//!       │
//!       │      from everywhere but Untouched ──closed──▶ CleanUp ──▶ Closed
//!       └──closed, or from everywhere let go of, with the debt──────────▶ Closed
//! ```
//!
//! A step that an environment does not have is passed over as if it had ended well; without an installation, a
//! verification that did not end well is followed by `Ready`.

use crate::error::Error;

/// Something that is done, and takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Making sure that the clean-up is run whatever happens.
    Register,
    Verify,
    Install,
    CleanUp,
}

#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Nobody has asked for it.
    Untouched,
    Doing(Step),
    Ready,
    /// It can't be had, and everybody who asks is told so.
    Failed(Error),
    /// It is cleaned up, or let go of. How that went.
    Closed(Result<(), Error>),
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Somebody wants it ready.
    Asked,
    /// A step has ended, well or not.
    Ended(Step, Result<(), Error>),
    /// Whoever did a step is gone without a word.
    Abandoned(Step, Error),
    /// Somebody wants it cleaned up.
    Closed,
    /// Nobody is there any more who could want anything.
    LetGo,
}

/// What there is to be done, beside registering and cleaning up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) verifies: bool,
    pub(super) installs: bool,
}

impl Stage {
    /// The stage that follows this one upon `event`; `None` is this one.
    pub(super) fn after(&self, event: Event, plan: Plan) -> Option<Stage> {
        use Event as E;
        use Stage as S;
        let install = || if plan.installs { S::Doing(Step::Install) } else { S::Ready };
        Some(match (self, event) {
            (S::Untouched, E::Asked) => S::Doing(Step::Register),
            // What ended is no longer what is being done: somebody closed meanwhile.
            (S::Doing(step), E::Ended(ended, _) | E::Abandoned(ended, _)) if *step != ended => return None,
            (S::Doing(Step::Register), E::Ended(_, Ok(()))) if plan.verifies => S::Doing(Step::Verify),
            (S::Doing(Step::Register), E::Ended(_, Ok(()))) => install(),
            (S::Doing(Step::Register), E::Ended(_, Err(error))) => S::Failed(error),
            (S::Doing(Step::Verify), E::Ended(_, Ok(()))) => S::Ready,
            (S::Doing(Step::Verify), E::Ended(_, Err(_))) => install(),
            (S::Doing(Step::Install), E::Ended(_, Ok(()))) => S::Ready,
            (S::Doing(Step::Install), E::Ended(_, Err(error))) => S::Failed(error),
            (S::Doing(Step::CleanUp), E::Ended(_, outcome)) => S::Closed(outcome),
            (S::Doing(Step::CleanUp), E::Abandoned(_, error)) => S::Closed(Err(error)),
            (S::Doing(_), E::Abandoned(_, error)) => S::Failed(error),
            (S::Doing(Step::CleanUp) | S::Closed(_), E::Closed | E::LetGo) => return None,
            (S::Untouched, E::Closed) | (_, E::LetGo) => S::Closed(Ok(())),
            (_, E::Closed) => S::Doing(Step::CleanUp),
            (_, E::Asked | E::Ended(..) | E::Abandoned(..)) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// What `events` lead to, from the beginning.
    fn after(plan: &str, events: &[&str]) -> String {
        let plan = Plan { verifies: plan.contains('v'), installs: plan.contains('i') };
        let no = || Error::new(ErrorKind::Worker, "NO", "no");
        let mut stage = Stage::Untouched;
        for event in events {
            let outcome = if event.ends_with("ok") { Ok(()) } else { Err(no()) };
            let event = match event.split(' ').next().expect("a word") {
                "asked" => Event::Asked,
                "registered" => Event::Ended(Step::Register, outcome),
                "verified" => Event::Ended(Step::Verify, outcome),
                "installed" => Event::Ended(Step::Install, outcome),
                "cleaned" => Event::Ended(Step::CleanUp, outcome),
                "install-lost" => Event::Abandoned(Step::Install, no()),
                "clean-lost" => Event::Abandoned(Step::CleanUp, no()),
                "closed" => Event::Closed,
                "letgo" => Event::LetGo,
                other => panic!("no such event: {other}"),
            };
            stage = stage.after(event, plan).unwrap_or(stage);
        }
        match stage {
            Stage::Untouched => "untouched".into(),
            Stage::Doing(step) => format!("{step:?}"),
            Stage::Ready => "ready".into(),
            Stage::Failed(_) => "failed".into(),
            Stage::Closed(Ok(())) => "closed ok".into(),
            Stage::Closed(Err(_)) => "closed no".into(),
        }
    }

    /// D3: register, verify, install, ready; each branch.
    #[test]
    fn d3_each_step_is_followed_by_the_right_one() {
        let begun = ["asked", "registered ok"];
        let cases: &[(&str, &[&str], &str)] = &[
            ("vi", &[], "Verify"),
            ("i", &[], "Install"),
            ("", &[], "ready"),
            ("v", &[], "Verify"),
            ("vi", &["verified ok"], "ready"),
            ("vi", &["verified no"], "Install"),
            ("v", &["verified no"], "ready"),
            ("vi", &["verified no", "installed ok"], "ready"),
            ("vi", &["verified no", "installed no"], "failed"),
            ("i", &["installed no", "asked", "installed ok"], "failed"),
            ("i", &["install-lost", "asked"], "failed"),
            ("i", &["asked"], "Install"),
        ];
        for (plan, events, expected) in cases {
            assert_eq!(after(plan, &[&begun, *events].concat()), *expected, "{plan} {events:?}");
        }
        assert_eq!(after("vi", &["asked", "registered no"]), "failed");
    }

    /// D3: there is one clean-up, after which nothing begins again; none is due where nothing was begun.
    #[test]
    fn d3_it_is_cleaned_up_once_and_for_good() {
        let cases: &[(&[&str], &str)] = &[
            (&["closed", "asked"], "closed ok"),
            (&["letgo", "asked", "closed"], "closed ok"),
            (&["asked", "closed"], "CleanUp"),
            (&["asked", "closed", "registered ok"], "CleanUp"),
            (&["asked", "registered ok", "closed", "installed no", "asked", "closed"], "CleanUp"),
            (&["asked", "registered ok", "installed no", "closed"], "CleanUp"),
            (&["asked", "registered ok", "letgo", "installed ok"], "closed ok"),
            (&["asked", "closed", "letgo"], "CleanUp"),
            (&["asked", "closed", "cleaned ok", "closed", "asked"], "closed ok"),
            (&["asked", "closed", "cleaned no", "closed", "letgo"], "closed no"),
            (&["asked", "closed", "clean-lost"], "closed no"),
            (&["asked", "registered ok", "closed", "install-lost"], "CleanUp"),
        ];
        for (events, expected) in cases {
            assert_eq!(after("i", events), *expected, "{events:?}");
        }
    }
}
