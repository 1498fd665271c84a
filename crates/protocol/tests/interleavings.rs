//! Two exchanges joined by small queues, in every interleaving: whatever each side may say, the other takes, and from
//! everywhere both can still come to an end.

use std::collections::{HashMap, VecDeque};

use anyudf_protocol::{Exchange, RequestKind, ResponseKind, Side};

const REQUESTS: [RequestKind; 7] = [
    RequestKind::Init { chunked: false },
    RequestKind::Init { chunked: true },
    RequestKind::Chunk { last: false, empty: false },
    RequestKind::Chunk { last: true, empty: true },
    RequestKind::Data,
    RequestKind::Finish,
    RequestKind::Cancel,
];

const RESPONSES: [ResponseKind; 6] = [
    ResponseKind::Init { failed: false },
    ResponseKind::Init { failed: true },
    ResponseKind::Data,
    ResponseKind::Error,
    ResponseKind::Finish,
    ResponseKind::Cancel,
];

/// Messages under way in one direction at most.
const DEPTH: usize = 3;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    engine: Exchange,
    worker: Exchange,
    requests: VecDeque<RequestKind>,
    responses: VecDeque<ResponseKind>,
}

impl World {
    fn new(side: Side) -> Self {
        World {
            engine: Exchange::new(side),
            worker: Exchange::new(Side::Worker),
            requests: VecDeque::new(),
            responses: VecDeque::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.engine.is_closed() && self.worker.is_closed()
    }

    /// Every world that is one step away. Panics when a side takes offence at what the other was allowed to say.
    fn next(&self) -> Vec<World> {
        let mut next = Vec::new();
        if self.requests.len() < DEPTH {
            for kind in REQUESTS {
                let mut world = self.clone();
                if world.engine.request(kind).is_ok() {
                    world.requests.push_back(kind);
                    next.push(world);
                }
            }
        }
        // R19: before anything came a worker only answers violations and shutdowns.
        let begun = self.worker != Exchange::new(Side::Worker);
        if begun && self.responses.len() < DEPTH {
            for kind in RESPONSES {
                let mut world = self.clone();
                if world.worker.response(kind).is_ok() {
                    world.responses.push_back(kind);
                    next.push(world);
                }
            }
        }
        let mut world = self.clone();
        if let Some(kind) = world.requests.pop_front() {
            world.worker.request(kind).unwrap_or_else(|violation| panic!("{self:?}: the worker refused: {violation}"));
            next.push(world);
        }
        let mut world = self.clone();
        if let Some(kind) = world.responses.pop_front() {
            world.engine.response(kind).unwrap_or_else(|violation| panic!("{self:?}: the engine refused: {violation}"));
            next.push(world);
        }
        next
    }
}

/// Walks every world; returns how many there are.
fn walk(side: Side) -> usize {
    let mut numbers = HashMap::from([(World::new(side), 0usize)]);
    let mut worlds = vec![World::new(side)];
    let mut before: Vec<Vec<usize>> = vec![vec![]];
    let mut at = 0;
    while at < worlds.len() {
        for next in worlds[at].next() {
            let number = *numbers.entry(next.clone()).or_insert_with(|| {
                worlds.push(next);
                before.push(vec![]);
                worlds.len() - 1
            });
            before[number].push(at);
        }
        at += 1;
    }
    let mut ends = vec![false; worlds.len()];
    let mut reached: Vec<usize> = (0..worlds.len()).filter(|&number| worlds[number].is_over()).collect();
    reached.iter().for_each(|&number| ends[number] = true);
    while let Some(number) = reached.pop() {
        for &earlier in &before[number] {
            if !std::mem::replace(&mut ends[earlier], true) {
                reached.push(earlier);
            }
        }
    }
    for (world, ends) in worlds.iter().zip(ends) {
        assert!(ends, "from here both never come to an end: {world:?}");
    }
    worlds.len()
}

/// R1-R13, C1-C4: in every interleaving nobody offends and both can always close.
#[test]
fn r1_to_r13_in_every_interleaving_nobody_offends_and_both_can_close() {
    let worlds = walk(Side::Engine);
    assert!(worlds > 300, "only {worlds} worlds: the walk has become too small to mean anything");
    assert!(walk(Side::PipeliningEngine) > worlds, "pipelining allows more");
}
