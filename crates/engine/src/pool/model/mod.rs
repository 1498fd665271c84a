//! The pool in every situation: all that can happen, in every order, to a few workers and callers.
//!
//! A world is a [`Pool`] and what is around it: processes that start, or do not, that answer, miss heartbeats, hang and
//! die at any moment; callers who come, leave and come again; somebody who closes the pool. [`walk`] goes through all the
//! worlds there are, breadth first. In each step the world's own books say whether what the pool wants done is right
//! (`World::act`); and in each world, whatever has happened, one fair continuation in which all that was begun comes to
//! its end must leave nobody waiting and no slot taken (`World::settled`).

mod world;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use self::world::{LARGE, OVERDUE, Setup, WELL, World};
use super::PoolConfig;
use super::tests::{PLAIN, REUSE, SHARED, workers};
use super::words::Event;

/// How a world was reached, and where its fair continuation goes.
struct Visit {
    from: u32,
    by: Option<Event>,
    fair: Option<u32>,
}

fn second(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Three workers whose times are short, so that the few seconds that are told apart are enough for all of them. Callers
/// wait as long as they want: that they leave stands for their timeout, too.
fn three_workers() -> PoolConfig {
    PoolConfig {
        wait_timeout: Duration::MAX,
        drain_timeout: second(1),
        check_timeout: second(1),
        backoff_initial: second(1),
        backoff_max: second(2),
        heartbeat_misses: 2,
        start_attempts: 2,
        ..workers(3)
    }
}

/// Visits every world, and returns how many there are.
fn walk(setup: &Setup) -> usize {
    let mut numbers: HashMap<u128, u32> = HashMap::new();
    let mut visits: Vec<Visit> = Vec::new();
    let mut worlds = VecDeque::new();
    let first = World::new(setup).unwrap_or_else(|wrong| panic!("at the beginning: {wrong}"));
    numbers.insert(first.key(setup), 0);
    visits.push(Visit { from: 0, by: None, fair: None });
    worlds.push_back(first);
    let mut at = 0;
    while let Some(world) = worlds.pop_front() {
        let fail = |wrong: &str, visits: &[Visit], last: &Event| -> ! {
            let path = path(visits, at);
            panic!("{wrong}\nafter {path:#?}\nand {last:?}\nin {world:#?}\n(world {at} of {} so far)", visits.len())
        };
        let fair = world.fair(setup);
        for event in world.events(setup) {
            let next = world.after(&event, setup).unwrap_or_else(|wrong| fail(&wrong, &visits, &event));
            let fresh = visits.len() as u32;
            let number = match numbers.entry(next.key(setup)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => {
                    visits.push(Visit { from: at as u32, by: Some(event.clone()), fair: None });
                    if fair.as_ref() == Some(&event) && next.refused() > world.refused() {
                        fail("a request is refused although all goes well", &visits, &event);
                    }
                    worlds.push_back(next);
                    *unknown.insert(fresh)
                }
            };
            if fair.as_ref() == Some(&event) {
                visits[at].fair = Some(number);
            }
        }
        match fair {
            None => world.settled(setup).unwrap_or_else(|wrong| fail(&wrong, &visits, &Event::Elapsed)),
            Some(event) if visits[at].fair.is_none() => fail("the fair event can't happen", &visits, &event),
            Some(_) => {}
        }
        at += 1;
    }
    ends(&visits);
    visits.len()
}

/// Every fair continuation ends.
fn ends(visits: &[Visit]) {
    let mut ends = vec![false; visits.len()];
    for start in 0..visits.len() {
        let (mut at, mut steps) = (start, Vec::new());
        while let (false, Some(next)) = (ends[at], visits[at].fair) {
            steps.push(at);
            assert!(
                steps.len() <= 1_000,
                "from here it never ends, of {} worlds: {:#?}",
                visits.len(),
                path(visits, at)
            );
            at = next as usize;
        }
        ends[at] = true;
        steps.into_iter().for_each(|step| ends[step] = true);
    }
}

/// What led to a world.
fn path(visits: &[Visit], mut at: usize) -> Vec<&Event> {
    let mut path = Vec::new();
    while let Some(event) = &visits[at].by {
        path.push(event);
        at = visits[at].from as usize;
    }
    path.reverse();
    path
}

/// D8-D12, E6: whatever happens in whatever order to three workers and four callers, no slot is lost, no worker is handed
/// out that is dead, ending, draining, full or another scope's, every request ends, and closing comes to its end.
///
/// Some 34,000 worlds of workers that serve one session each, with one kept warm; 53,000 of workers that are reused; 111,000
/// of workers that two sessions share.
#[test]
fn d8_d9_d10_d11_d12_e6_every_situation_of_three_workers_and_four_callers() {
    for (traits, seats, min_idle) in [(PLAIN, 1, 1), (REUSE, 1, 0), (SHARED, 2, 0)] {
        let config = PoolConfig { min_idle, ..three_workers() };
        let setup = Setup { traits, config, seats, callers: vec![4], beats: &[WELL, OVERDUE] };
        assert!(walk(&setup) > 30_000, "it went everywhere");
    }
}

/// D9, D10: the same for callers of two security scopes, and for workers that may grow too large.
#[test]
fn d9_d10_every_situation_of_two_scopes_and_of_large_workers() {
    for (callers, memory_limit, beats) in [(vec![2, 1], None, &[WELL][..]), (vec![2], Some(8), &[WELL, LARGE][..])] {
        let config = PoolConfig { memory_limit, ..PoolConfig { max_workers: 2, ..three_workers() } };
        let setup = Setup { traits: REUSE, config, seats: 1, callers, beats };
        assert!(walk(&setup) > 1_000, "it went everywhere");
    }
}
