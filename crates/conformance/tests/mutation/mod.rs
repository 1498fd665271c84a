//! Deliberate mistakes, and whether the kit refuses each: what the tests with wrong workers and wrong engines share.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::ops::RangeBounds;
use std::time::{Duration, Instant};

use anyudf_conformance::{Case, Outcome, Report};
use futures::StreamExt as _;
use futures::stream;

/// Set for a process that a test starts: the name of its mutation, or that it makes no mistake.
pub(crate) const ROLE: &str = "TEST_MUTANT";
pub(crate) const RIGHT: &str = "right";

/// A deliberate mistake.
pub(crate) trait Mistake: Copy + 'static {
    /// Its name, which begins with the rule that it breaks.
    fn name(self) -> &'static str;

    /// The number of the rule in docs/protocol.md.
    fn rule(self) -> &'static str;
}

/// The mistakes of one test, `Mutation`, and who makes one of them or none, `Mutant`.
macro_rules! mutations {
    ($($rule:ident { $($variant:ident = $name:literal),* $(,)? })*) => {
        /// One deliberate mistake. Its name begins with the rule that it breaks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mutation { $($($variant),*),* }

        impl Mutation {
            pub(crate) const ALL: &[Mutation] = &[$($(Mutation::$variant),*),*];
        }

        impl $crate::mutation::Mistake for Mutation {
            fn name(self) -> &'static str {
                match self { $($(Mutation::$variant => $name),*),* }
            }

            fn rule(self) -> &'static str {
                match self { $($(Mutation::$variant => stringify!($rule)),*),* }
            }
        }

        /// Which mistake is made, if any.
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct Mutant(pub(crate) Option<Mutation>);

        impl Mutant {
            /// By the name of the mutation; any other makes none.
            pub(crate) fn named(name: &str) -> Self {
                let named = |mutation: &Mutation| $crate::mutation::Mistake::name(*mutation) == name;
                Mutant(Mutation::ALL.iter().copied().find(named))
            }

            pub(crate) fn is(self, mutation: Mutation) -> bool {
                self.0 == Some(mutation)
            }
        }
    };
}
pub(crate) use mutations;

/// What is tried, and how.
pub(crate) struct Trial<P> {
    /// What the mutants are: a worker, an engine.
    pub(crate) what: &'static str,
    pub(crate) cases: Vec<Case>,
    /// Mutations that are tried at the same time: most of the time is spent waiting.
    pub(crate) side_by_side: usize,
    /// Plays cases, by so many jobs, to the program with the mutation of a name, or to the right one.
    pub(crate) play: P,
}

/// How often all cases that cite a mistake's rule are played before it counts as overlooked.
const TRIES: usize = 3;

impl<P: AsyncFn(&str, Vec<Case>, usize) -> Vec<Report>> Trial<P> {
    /// Plays the right program all cases, and each of `mutations` those that cite its rule, until one refuses it. Prints the
    /// table. With `TEST_MUTANTS_WHY=1` it says, too, what each case found and how long it took; `TEST_MUTANTS_ONLY=r12`
    /// tries only the mutations whose names begin so.
    ///
    /// # Panics
    /// When a case that must hold refuses the right program, or none refuses a mutation.
    pub(crate) async fn run<M: Mistake>(self, mutations: &[M]) {
        let (what, why) = (self.what, env::var_os("TEST_MUTANTS_WHY").is_some());
        let began = Instant::now();
        let right = (self.play)(RIGHT, self.cases.clone(), 4).await;
        if why {
            println!("-- the right {what} took {:?}", began.elapsed());
            let mut slow: Vec<_> = right.iter().map(|report| (report.took, &report.case.name)).collect();
            slow.sort();
            for (took, name) in slow.iter().rev().take(40) {
                println!("   {took:?} {name}");
            }
        }
        let mut wrong = String::new();
        for report in right.iter().filter(|report| matches!(report.outcome, Outcome::Fail | Outcome::NotRun)) {
            let Report { case, detail, .. } = report;
            let _ = writeln!(wrong, "the right {what}: {} ({}): {detail}", case.name, case.level);
        }
        let took = right.iter().map(|report| (report.case.name.clone(), report.took)).collect();
        // A case that refuses the right one proves nothing of a wrong one.
        let held = |case: &&Case| {
            let mut reports = right.iter().filter(|report| report.case.name == case.name);
            reports.all(|report| matches!(report.outcome, Outcome::Pass | Outcome::Choice))
        };
        let cases: Vec<_> = self.cases.iter().filter(held).collect();
        let only = env::var("TEST_MUTANTS_ONLY").unwrap_or_default();
        let chosen = mutations.iter().copied().filter(|mutation| mutation.name().starts_with(&only)).enumerate();
        let refused = stream::iter(chosen).map(|(number, mutation)| {
            let (trial, cases, took) = (&self, &cases, &took);
            async move {
                let began = Instant::now();
                let report = trial.refusal(mutation, cases, took).await;
                (number, mutation, report, began.elapsed())
            }
        });
        let mut refused: Vec<_> = refused.buffer_unordered(self.side_by_side).collect().await;
        refused.sort_by_key(|(number, ..)| *number);
        println!("{:<5}{:<56}case", "rule", "mutant");
        for (_, mutation, report, took) in &refused {
            let case = report.as_ref().map_or("NONE", |report| &report.case.name);
            println!("{:<5}{:<56}{case}", mutation.rule(), mutation.name());
            if let Some(report) = report.as_ref().filter(|_| why) {
                println!("      {took:.1?} {}: {}", report.case.level, report.detail);
            }
            if report.is_none() {
                let _ = writeln!(wrong, "{} is refused by no case that cites {}", mutation.name(), mutation.rule());
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    }

    /// The first case that cites the mutation's rule and refuses it.
    async fn refusal<M: Mistake>(
        &self,
        mutation: M,
        cases: &[&Case],
        took: &BTreeMap<String, Duration>,
    ) -> Option<Report> {
        let mut citing: Vec<_> =
            cases.iter().filter(|case| case.rules.iter().any(|rule| rule == mutation.rule())).collect();
        // What must hold first, and of that what is quick.
        citing.sort_by_key(|case| (case.level, took.get(&case.name)));
        // On a busy machine the right one may be late, too, and some mistakes show themselves by luck alone.
        for case in std::iter::repeat_n(&citing, TRIES).flatten() {
            let fails = |report: &Report| report.outcome == Outcome::Fail;
            let alone = || vec![Case::clone(case)];
            let refused = (self.play)(mutation.name(), alone(), 1).await.into_iter().find(fails);
            // A case that was late refuses the right one as well.
            if refused.is_some() && !(self.play)(RIGHT, alone(), 1).await.iter().any(fails) {
                return refused;
            }
        }
        None
    }
}

/// A rule without a mistake that breaks it would be proved by nothing: every rule of docs/protocol.md in these groups has
/// one, and each mistake's name begins with its rule.
///
/// # Panics
/// When it is not so, when there are not `count` rules, or when there are fewer than `least` mutations.
pub(crate) fn every_rule_is_broken<M: Mistake>(
    mutations: &[M],
    groups: &[char],
    count: impl RangeBounds<usize>,
    least: usize,
) {
    let protocol = include_str!("../../protocol.md").lines();
    let rules = protocol.filter_map(|line| line.strip_prefix("**")?.split_once(".**")).map(|(rule, _)| rule);
    let rules: Vec<_> = rules.filter(|rule| rule.starts_with(groups)).collect();
    assert!(count.contains(&rules.len()), "{} rules", rules.len());
    for rule in rules {
        assert!(mutations.iter().any(|mutation| mutation.rule() == rule), "no mutation breaks {rule}");
    }
    assert!(mutations.len() >= least, "{} mutations", mutations.len());
    let mut names: Vec<_> = mutations.iter().map(|mutation| mutation.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), mutations.len(), "two mutations have one name");
    for mutation in mutations {
        let named = mutation.name().starts_with(&format!("{}-", mutation.rule().to_lowercase()));
        assert!(named, "{} breaks {}", mutation.name(), mutation.rule());
    }
}
