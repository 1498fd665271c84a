//! What a peer did that the protocol forbids, and the rule that forbids it.

use std::borrow::Cow;
use std::fmt;

macro_rules! rules {
    ($($name:ident),* $(,)?) => {
        /// The number of a rule in `docs/protocol.md` that a stream can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the texts are in docs/protocol.md")]
        pub enum Rule { $($name),* }

        impl Rule {
            /// The number as it is written in the document, such as `R9`.
            pub fn name(self) -> &'static str {
                match self { $(Rule::$name => stringify!($name)),* }
            }
        }
    };
}

rules! {
    R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, R11, R12, R13, R14, R15, R16, R17, R18, R19, R20,
    C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12,
    E11, M1, P7,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A message or an end of stream that breaks a rule. The peer is to blame.
///
/// Prints as what happened and the number of the rule: `got DataRequest before InitResponse (R5)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    rule: Rule,
    text: Cow<'static, str>,
}

impl Violation {
    /// A violation of `rule`; `text` says what happened and where, without the number.
    pub fn new(rule: Rule, text: impl Into<Cow<'static, str>>) -> Self {
        Violation { rule, text: text.into() }
    }

    /// The rule that was broken.
    pub fn rule(&self) -> Rule {
        self.rule
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.rule)
    }
}

impl std::error::Error for Violation {}
