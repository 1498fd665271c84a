//! The table against the grammar of `docs/protocol.md`: every word up to six letters, both directions.

use anyudf_protocol::{Exchange, RequestKind, ResponseKind, Side};
use regex::Regex;

/// The letters of what an engine says.
const REQUESTS: [(char, RequestKind); 7] = [
    ('i', RequestKind::Init { chunked: false }),
    ('I', RequestKind::Init { chunked: true }),
    ('c', RequestKind::Chunk { last: false, empty: false }),
    ('l', RequestKind::Chunk { last: true, empty: false }),
    ('d', RequestKind::Data),
    ('f', RequestKind::Finish),
    ('x', RequestKind::Cancel),
];

/// The letters of what a worker says.
const RESPONSES: [(char, ResponseKind); 6] = [
    ('i', ResponseKind::Init { failed: false }),
    ('e', ResponseKind::Init { failed: true }),
    ('d', ResponseKind::Data),
    ('!', ResponseKind::Error),
    ('f', ResponseKind::Finish),
    ('x', ResponseKind::Cancel),
];

/// Every word of at most `longest` letters.
fn words(letters: &str, longest: usize) -> impl Iterator<Item = String> {
    let letters: Vec<char> = letters.chars().collect();
    (0..=longest).flat_map(move |length| {
        let letters = letters.clone();
        (0..letters.len().pow(length as u32)).map(move |mut number| {
            (0..length)
                .map(|_| {
                    let letter = letters[number % letters.len()];
                    number /= letters.len();
                    letter
                })
                .collect()
        })
    })
}

/// Whether an engine whose worker answers at the first chance may say all of `word`.
fn engine_may_say(word: &str) -> bool {
    let mut exchange = Exchange::new(Side::Engine);
    word.chars().all(|letter| {
        let kind = REQUESTS.iter().find(|(l, _)| *l == letter).expect("a letter of ours").1;
        let said = exchange.request(kind).is_ok();
        // R4: the worker says at once that the function is open. It fails while the payload is not whole.
        let _ = exchange.response(ResponseKind::Init { failed: false });
        said
    })
}

/// R1, R2, R5, R9: `Init Chunk* Data* (Finish Cancel? | Cancel)`, any prefix of it, and Cancel behind any prefix.
#[test]
fn r1_r2_r5_r9_every_word_of_an_engine() {
    let grammar = Regex::new("^(x|(i|Ic*l)(d*x?|d*fx?)|Ic*x?)?$").expect("a regex");
    let mut tried = 0;
    for word in words("iIcldfx", 6) {
        assert_eq!(engine_may_say(&word), grammar.is_match(&word), "{word}");
        tried += 1;
    }
    assert_eq!(tried, 137_257);
}

/// The engine said all it will (`asked`); may the worker answer with all of `word`?
fn worker_may_say(asked: &[RequestKind], word: &str) -> bool {
    let mut exchange = Exchange::new(Side::Worker);
    for kind in asked {
        exchange.request(*kind).expect("the engine is in order");
    }
    word.chars().all(|letter| {
        let kind = RESPONSES.iter().find(|(l, _)| *l == letter).expect("a letter of ours").1;
        exchange.response(kind).is_ok()
    })
}

/// R4, R6, R7, R8, R10, R12, R13: every word of a worker, by what it was asked.
#[test]
fn r4_r6_r7_r8_r10_r12_every_word_of_a_worker() {
    use RequestKind::{Cancel, Data, Finish};
    let init = RequestKind::Init { chunked: false };
    let begun = RequestKind::Init { chunked: true };
    let cases: [(&[RequestKind], &str); 8] = [
        // Nothing was asked: only a violation, or a shutdown, makes it speak (R19, C7).
        (&[], "^(ex?)?$"),
        // R4: nothing good before the payload is whole.
        (&[begun], "^(ex?)?$"),
        // R6: data after InitResponse; R7: one error, nothing but CancelResponse behind it; R10: no FinishResponse.
        (&[init], "^(ex?|id*|id*!x?)?$"),
        (&[init, Data], "^(ex?|id*|id*!x?)?$"),
        // R10: Finish allows FinishResponse, R13: and nothing behind it.
        (&[init, Data, Finish], "^(ex?|id*f?|id*!x?)?$"),
        // C3: cancelled before InitResponse, so none is owed and none is sent.
        (&[Cancel], "^x?$"),
        (&[init, Cancel], "^x?$"),
        // R11: Cancel came before FinishResponse was sent.
        (&[init, Data, Finish, Cancel], "^x?$"),
    ];
    for (asked, grammar) in cases {
        let regex = Regex::new(grammar).expect("a regex");
        for word in words("ied!fx", 5) {
            assert_eq!(worker_may_say(asked, &word), regex.is_match(&word), "asked {asked:?}, said {word}");
        }
    }
}

/// C1: an engine that pipelines sends data before InitResponse, any other does not.
#[test]
fn c1_only_a_pipelining_engine_sends_data_before_init_response() {
    for (side, allowed) in [(Side::Engine, false), (Side::PipeliningEngine, true), (Side::Worker, true)] {
        let mut exchange = Exchange::new(side);
        exchange.request(RequestKind::Init { chunked: true }).expect("R1");
        assert!(exchange.request(RequestKind::Data).is_err(), "the payload is not whole: {side:?}");
        exchange.request(RequestKind::Chunk { last: true, empty: false }).expect("R2");
        assert_eq!(exchange.request(RequestKind::Data).is_ok(), allowed, "{side:?}");
        assert_eq!(exchange.request(RequestKind::Finish).is_ok(), allowed, "{side:?}");
    }
}
