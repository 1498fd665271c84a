//! What to do, as the command line says it, and the numbers that decide the rest.

pub(crate) const USAGE: &str = "usage: chaos [--seconds N] [--callers N] [--workers N] [--seed N]";

/// What to do.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seconds: u64,
    pub(crate) callers: u64,
    pub(crate) workers: u64,
    pub(crate) seed: u64,
}

impl Plan {
    pub(crate) fn parse(arguments: &[String]) -> Option<Plan> {
        let mut plan = Plan { seconds: 10, callers: 64, workers: 4, seed: 1 };
        for pair in arguments.chunks(2) {
            let [name, value] = pair else { return None };
            let (place, bounds) = match name.as_str() {
                "--seconds" => (&mut plan.seconds, 1..=86_400),
                "--callers" => (&mut plan.callers, 1..=10_000),
                "--workers" => (&mut plan.workers, 1..=256),
                "--seed" => (&mut plan.seed, 0..=u64::MAX),
                _ => return None,
            };
            *place = value.parse().ok().filter(|number| bounds.contains(number))?;
        }
        Some(plan)
    }
}

/// Numbers that look random, the same for the same seed and stream.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // Neighbouring seeds and streams shall have nothing to do with each other, and zero would stay zero.
        let mixed =
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_add(1).wrapping_mul(0xd1b5_4a32_d192_ed03);
        let mut random = Random(mixed | 1);
        for _ in 0..8 {
            random.below(1);
        }
        random
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
