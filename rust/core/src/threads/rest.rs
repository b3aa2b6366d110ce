//! When to go on without a worker: its core is somebody else's.
//!
//! Beside a busy process a worker runs for a time slice of some ms, and then stands still for one, in the middle of a
//! region whose other members wait for it. No member can know that beforehand. So a worker that costs more than it brings is
//! left alone for a while, twice as long every time; one that has kept up for long begins anew.

use std::time::{Duration, Instant};

/// The first rest, in multiples of what was lost.
const FIRST: u32 = 8;
const SHORTEST: Duration = Duration::from_millis(1);
/// So that the core is found again soon after it has become free.
const LONGEST: Duration = Duration::from_secs(1);
/// Multiples of the last rest after whose end it is forgotten.
const FORGET: u32 = 8;
/// More than callers may lose in small pieces.
const PATIENCE: Duration = Duration::from_micros(150);

/// The rests of one worker.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The end of the latest rest, and its length.
    latest: Option<(Instant, Duration)>,
    /// Time lost since the worker last was of use.
    debt: Duration,
    /// Number of rests so far.
    pub(super) count: u64,
}

impl Rest {
    /// True if the worker is to be left alone now.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.latest.is_some_and(|(end, _)| now < end)
    }

    /// The worker did its part in time.
    pub(super) fn useful(&mut self) {
        self.debt = Duration::ZERO;
    }

    /// So much time was lost because of the worker.
    pub(super) fn lost(&mut self, time: Duration, now: Instant) {
        self.debt += time;
        if self.debt < PATIENCE {
            return;
        }
        let again = self.latest.filter(|(end, length)| now.saturating_duration_since(*end) < *length * FORGET);
        let length = again.map_or(self.debt * FIRST, |(_, length)| length * 2).clamp(SHORTEST, LONGEST);
        self.latest = Some((now + length, length));
        self.debt = Duration::ZERO;
        self.count += 1;
    }
}

/// Loss of a team of this size against one without its latecomers: this member waited in a region that took `elapsed`.
pub(super) fn loss(size: usize, elapsed: Duration, waited: Duration) -> Duration {
    let own = elapsed.saturating_sub(waited);
    waited.saturating_sub(own / (size - 1) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn rests_grow_and_are_forgotten() {
        let (mut rest, mut now) = (Rest::default(), Instant::now());
        let mut lengths = Vec::new();
        for _ in 0..10 {
            rest.lost(3 * MS, now);
            let begun = now;
            while rest.lasts(now) {
                now += MS;
            }
            lengths.push((now - begun).as_millis());
            // A time slice of good work does not excuse it.
            now += 3 * MS;
            rest.useful();
        }
        assert_eq!(lengths, [24, 48, 96, 192, 384, 768, 1000, 1000, 1000, 1000]);
        now += LONGEST * FORGET;
        rest.lost(3 * MS, now);
        assert!(rest.lasts(now + 23 * MS) && !rest.lasts(now + 24 * MS));
        assert_eq!(rest.count, 11);
    }

    #[test]
    fn small_losses_add_up_until_the_worker_is_of_use() {
        let (mut rest, now) = (Rest::default(), Instant::now());
        for _ in 0..1000 {
            rest.lost(PATIENCE / 2, now);
            rest.useful();
        }
        assert!(!rest.lasts(now));
        rest.lost(PATIENCE / 2, now);
        rest.lost(PATIENCE / 2, now);
        assert!(rest.lasts(now));
    }

    #[test]
    fn a_team_is_compared_with_one_without_the_latecomer() {
        // Two members: alone it would have taken twice the own share.
        assert_eq!(loss(2, 5 * MS, 4 * MS), 3 * MS);
        assert_eq!(loss(2, 5 * MS, MS), Duration::ZERO);
        // Of four, each of the other three would have had a third more.
        assert_eq!(loss(4, 4 * MS, MS), Duration::ZERO);
        assert_eq!(loss(4, 5 * MS, 2 * MS), MS);
    }
}
