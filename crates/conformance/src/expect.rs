//! What may come next: alternatives, of which the case follows all that what has come still is.
//!
//! Both halves of the kit wait like this: for what a worker says, for what an engine says, and for what it reports.

use std::collections::VecDeque;
use std::fmt;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::line::Words;

/// A pattern for one thing that may come.
pub(crate) trait Expectation: Sized + fmt::Display {
    /// What comes.
    type Heard: fmt::Display;
    /// What it is compared with, besides the pattern.
    type Context: ?Sized;

    /// Reads a pattern up to `;`, `|` or the end. Several are one after the other.
    fn parse(words: &mut Words<'_>) -> Result<Vec<Self>, String>;

    /// It may come any number of times, and not at all.
    fn repeats(&self) -> bool;

    /// Nothing can come after it.
    fn is_last(&self) -> bool;

    /// Whether this is it; otherwise in what it differs.
    fn check(&self, heard: &Self::Heard, context: &Self::Context) -> Result<(), String>;
}

/// One of several things that may come.
#[derive(Clone, Debug)]
pub(crate) struct Alternative<P> {
    /// What it is called in a report, when it is a choice that the protocol leaves open.
    pub(crate) choice: Option<String>,
    pub(crate) then: Vec<Expected<P>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Expected<P> {
    Said(P),
    /// Nothing, for so long.
    Nothing(Duration),
}

/// `[choice:] pattern ; nothing 200ms | …`.
pub(crate) fn alternatives<P: Expectation>(words: &mut Words<'_>) -> Result<Vec<Alternative<P>>, String> {
    let mut alternatives = vec![alternative(words)?];
    while words.take("|") {
        alternatives.push(alternative(words)?);
    }
    Ok(alternatives)
}

fn alternative<P: Expectation>(words: &mut Words<'_>) -> Result<Alternative<P>, String> {
    let choice = words.peek().and_then(|word| word.strip_suffix(':')).map(String::from);
    if choice.is_some() {
        words.next();
    }
    let mut then = Vec::new();
    loop {
        match words.take("nothing") {
            true => then.push(Expected::Nothing(words.time("how long")?)),
            false => then.extend(P::parse(words)?.into_iter().map(Expected::Said)),
        }
        if !words.take(";") {
            break;
        }
    }
    let last = |expected: &&Expected<P>| matches!(expected, Expected::Said(pattern) if pattern.is_last());
    match then.iter().rev().skip(1).find(last) {
        Some(Expected::Said(pattern)) => Err(format!("nothing comes after `{pattern}`")),
        _ => Ok(Alternative { choice, then }),
    }
}

/// What waiting for the next thing has given.
pub(crate) enum Came<H> {
    Heard(H),
    /// Nothing, in the time that there was.
    Nothing,
    /// Nothing, and there will be nothing more.
    Over,
}

/// Why the alternatives are none.
pub(crate) enum Mismatch {
    /// Something else came.
    Wrong { heard: String, why: String },
    /// Nothing came in time.
    Late { wanted: String },
    /// Nothing more comes.
    Over { wanted: String },
}

/// Which alternatives what has come still is.
pub(crate) struct Matching<'a, P> {
    alternatives: &'a [Alternative<P>],
    /// Each with how far it has come.
    alive: VecDeque<(usize, usize)>,
}

impl<'a, P: Expectation> Matching<'a, P> {
    pub(crate) fn new(alternatives: &'a [Alternative<P>]) -> Self {
        let mut matching = Matching { alternatives, alive: (0..alternatives.len()).map(|at| (at, 0)).collect() };
        matching.skip_stars();
        matching
    }

    fn next(&self, (at, step): (usize, usize)) -> Option<&'a Expected<P>> {
        self.alternatives[at].then.get(step)
    }

    /// What repeats may be nothing.
    fn skip_stars(&mut self) {
        let mut at = 0;
        while let Some(&(alternative, step)) = self.alive.get(at) {
            if let Some(Expected::Said(pattern)) = self.next((alternative, step))
                && pattern.repeats()
                && !self.alive.contains(&(alternative, step + 1))
            {
                self.alive.insert(at + 1, (alternative, step + 1));
            }
            at += 1;
        }
    }

    /// The first alternative that has come to its end.
    pub(crate) fn done(&self) -> Option<&'a Alternative<P>> {
        let done = self.alive.iter().find(|state| self.next(**state).is_none());
        done.map(|(at, _)| &self.alternatives[*at])
    }

    /// How long to wait for the next thing: no longer than until an alternative that waits for silence has it.
    pub(crate) fn patience(&self, until: Instant) -> Duration {
        let left = until.saturating_duration_since(Instant::now());
        self.quiet().map_or(left, |quiet| quiet.min(left))
    }

    /// Takes what waiting has given, which took so long if it was nothing; why that is none of the alternatives, if so.
    pub(crate) fn take(
        &mut self,
        came: &Came<P::Heard>,
        waited: Duration,
        context: &P::Context,
    ) -> Result<(), Mismatch> {
        match (came, self.quiet()) {
            (Came::Heard(heard), _) => {
                let wrong = |why| Mismatch::Wrong { heard: heard.to_string(), why };
                self.heard(heard, context).map_err(wrong)?;
            }
            // What is over is quiet.
            (Came::Over, Some(quiet)) => self.passed(quiet),
            (Came::Over, None) => return Err(Mismatch::Over { wanted: self.wanted() }),
            (Came::Nothing, Some(quiet)) if quiet <= waited => self.passed(waited),
            (Came::Nothing, _) => return Err(Mismatch::Late { wanted: self.wanted() }),
        }
        Ok(())
    }

    /// How long nothing may come for an alternative that waits for that.
    pub(crate) fn quiet(&self) -> Option<Duration> {
        let quiet = self.alive.iter().filter_map(|state| match self.next(*state) {
            Some(Expected::Nothing(time)) => Some(*time),
            _ => None,
        });
        quiet.min()
    }

    /// Nothing has come for so long.
    fn passed(&mut self, time: Duration) {
        for state in &mut self.alive {
            if let Some(Expected::Nothing(wanted)) = self.alternatives[state.0].then.get(state.1)
                && *wanted <= time
            {
                state.1 += 1;
            }
        }
        self.skip_stars();
    }

    /// Something has come; why it is none of the alternatives, if so.
    fn heard(&mut self, heard: &P::Heard, context: &P::Context) -> Result<(), String> {
        let mut after = VecDeque::new();
        let mut why = Vec::new();
        for &(at, step) in &self.alive {
            match self.next((at, step)) {
                Some(Expected::Said(pattern)) => match pattern.check(heard, context) {
                    Ok(()) if pattern.repeats() => after.push_back((at, step)),
                    Ok(()) => after.push_back((at, step + 1)),
                    Err(other) => why.push(format!("for `{}`: {other}", self.shown(at, step))),
                },
                Some(Expected::Nothing(_)) => why.push("nothing was to come".into()),
                None => {}
            }
        }
        if after.is_empty() {
            return Err(why.join("; "));
        }
        self.alive = after;
        self.skip_stars();
        Ok(())
    }

    fn shown(&self, at: usize, step: usize) -> String {
        match &self.alternatives[at].then[step] {
            Expected::Said(pattern) => pattern.to_string(),
            Expected::Nothing(time) => format!("nothing {time:?}"),
        }
    }

    fn wanted(&self) -> String {
        let mut wanted = String::new();
        for (number, &(at, step)) in self.alive.iter().filter(|state| self.next(**state).is_some()).enumerate() {
            let _ = write!(wanted, "{}`{}`", if number == 0 { "" } else { " or " }, self.shown(at, step));
        }
        wanted
    }
}
