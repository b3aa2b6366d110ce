//! Number of threads of a short step: as many as make it faster, found by trying.
//!
//! A second thread halves a step of 50 µs on an idle machine, and doubles it where another process has the core. No
//! estimate knows which, so a plan times its steps alone and with the team, keeps to the faster way, and tries the other
//! one again now and then. The numbers never depend on it.

use std::time::{Duration, Instant};

/// Steps of a trial, and the time after which it ends even if they are fewer.
const TRIAL: u32 = 6;
const ENOUGH: Duration = Duration::from_millis(3);
/// Steps at the start of a trial that do not count, since they wake sleeping threads, unless they take this long.
const WARM_UP: u32 = 2;
const WARM: Duration = Duration::from_millis(1);
/// Steps between trials of the slower way: few at first and after a change, since what was measured may have been an
/// accident, and twice as many after every trial that changes nothing, until less than 1 % of the time goes into them.
const BETWEEN_TRIALS: u32 = 32;
const MOST_BETWEEN_TRIALS: u32 = 2048;
/// Steps after which the faster way's own time is taken afresh.
const WINDOW: u32 = 50;
/// So many steps in a window that took at least twice the time they take alone, and cost so many steps' time, end it:
/// somebody else has the team's cores.
const BAD_STEPS: u32 = 3;
const BAD_TIME: u32 = 20;
/// After a pause of this length the team sleeps.
const PAUSE: Duration = Duration::from_micros(150);

/// The two ways to run a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Alone = 0,
    Together = 1,
}

impl Way {
    fn other(self) -> Self {
        match self {
            Self::Alone => Self::Together,
            Self::Together => Self::Alone,
        }
    }
}

/// Measured speed of a plan: after a pause the team sleeps and the caches hold other data, so that such steps have a
/// habit of their own.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    usual: Habit,
    rested: Habit,
    /// When the newest step ended.
    ended: Option<Instant>,
}

impl Pace {
    /// Number of threads of a step that begins now, of at most `most`.
    #[must_use]
    pub fn width(&self, most: usize, begun: Instant) -> usize {
        let habit = if self.has_rested(begun) { &self.rested } else { &self.usual };
        if habit.way == Way::Alone { 1 } else { most }
    }

    /// Note that the last `steps` steps took from `begun` until `ended`, by a team of `size`. One that was to be larger says
    /// nothing about either way.
    pub fn took(&mut self, begun: Instant, ended: Instant, steps: u32, size: usize) {
        let habit = if self.has_rested(begun) { &mut self.rested } else { &mut self.usual };
        if steps > 0 && (size > 1) == (habit.way == Way::Together) {
            habit.count(ended.saturating_duration_since(begun), steps);
        }
        self.ended = Some(ended);
    }

    fn has_rested(&self, begun: Instant) -> bool {
        self.ended.is_none_or(|before| begun.saturating_duration_since(before) > PAUSE)
    }
}

/// Means, not the best times: where another process shares the core, it is the steps that had to wait for it that make a team
/// slow.
#[derive(Clone, Debug)]
struct Habit {
    /// Mean time of recent steps, each way.
    mean: [Option<Duration>; 2],
    way: Way,
    trying: bool,
    /// Steps since the trial or the time between trials began, and the length of the latter.
    steps: u32,
    between: u32,
    /// Time spent on warming up.
    warming: Duration,
    /// Time and number of the steps that count at the moment.
    window: (Duration, u32),
    /// Time that steps of the window lost against steps alone, and the number of those that lost.
    lost: (Duration, u32),
}

impl Default for Habit {
    fn default() -> Self {
        Self {
            mean: [None; 2],
            way: Way::Together,
            trying: true,
            steps: 0,
            between: BETWEEN_TRIALS,
            warming: Duration::ZERO,
            window: (Duration::ZERO, 0),
            lost: (Duration::ZERO, 0),
        }
    }
}

impl Habit {
    fn count(&mut self, time: Duration, steps: u32) {
        self.steps += steps;
        if self.trying && self.steps <= WARM_UP && self.warming < WARM {
            self.warming += time;
            return;
        }
        self.window = (self.window.0 + time, self.window.1 + steps);
        if self.trying {
            if self.window.1 >= TRIAL || self.window.0 >= ENOUGH {
                self.end_trial();
            }
        } else if self.bad(time / steps) {
            self.end_window();
            self.between = BETWEEN_TRIALS;
            self.change(Way::Alone, false);
        } else {
            if self.window.1 >= WINDOW {
                self.end_window();
            }
            if self.steps >= self.between {
                self.change(self.way.other(), true);
            }
        }
    }

    /// True if steps together have become much slower than alone.
    fn bad(&mut self, step: Duration) -> bool {
        let Some(alone) = self.mean[Way::Alone as usize].filter(|_| self.way == Way::Together) else { return false };
        if step > alone * 2 {
            self.lost = (self.lost.0 + step.saturating_sub(alone), self.lost.1 + 1);
        }
        self.lost.1 >= BAD_STEPS && self.lost.0 > alone * BAD_TIME
    }

    fn end_window(&mut self) {
        let (time, steps) = std::mem::take(&mut self.window);
        if steps > 0 {
            self.mean[self.way as usize] = Some(time / steps);
        }
        self.lost = (Duration::ZERO, 0);
    }

    fn change(&mut self, way: Way, trying: bool) {
        (self.way, self.trying, self.steps, self.warming) = (way, trying, 0, Duration::ZERO);
        (self.window, self.lost) = ((Duration::ZERO, 0), (Duration::ZERO, 0));
    }

    fn end_trial(&mut self) {
        self.end_window();
        let [Some(alone), Some(together)] = self.mean else { return self.change(self.way.other(), true) };
        let faster = if alone < together { Way::Alone } else { Way::Together };
        let changes = faster == self.way;
        self.between = if changes { BETWEEN_TRIALS } else { (self.between * 2).min(MOST_BETWEEN_TRIALS) };
        self.change(faster, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run `n` steps whose times these are; returns how many were taken together.
    fn run(habit: &mut Habit, n: usize, alone: u64, together: u64) -> usize {
        (0..n)
            .filter(|_| {
                let way = habit.way;
                habit.count(Duration::from_micros(if way == Way::Alone { alone } else { together }), 1);
                way == Way::Together
            })
            .count()
    }

    #[test]
    fn the_faster_way_is_kept_and_the_other_tried_rarely() {
        let mut habit = Habit::default();
        assert!(run(&mut habit, 4000, 60, 100) < 100);
        assert!(run(&mut habit, 8000, 60, 30) > 5_000, "it notices that the other core has become free");
        assert!(run(&mut habit, 4000, 60, 200) < 300, "and that it is taken again");
    }

    #[test]
    fn long_steps_are_tried_alone_once_in_a_while() {
        let mut habit = Habit::default();
        assert!(run(&mut habit, 20_000, 9000, 5000) > 19_970);
    }

    /// A spinning thread on the other core makes every barrier wait for its time slice.
    #[test]
    fn a_team_that_has_lost_its_cores_is_left_at_once() {
        let mut habit = Habit::default();
        run(&mut habit, 600, 100, 60);
        assert!(run(&mut habit, 10_000, 100, 10_000) < 60);
        assert!(run(&mut Habit::default(), 10_000, 100, 10_000) < 60, "and not begun with");
    }

    #[test]
    fn one_slow_step_changes_nothing() {
        let mut habit = Habit::default();
        run(&mut habit, 100, 100, 60);
        assert_eq!(run(&mut habit, 1, 100, 10_000) + run(&mut habit, 100, 100, 60), 101);
    }

    /// Every fifth step comes after a pause, and is faster alone; the others are faster together.
    #[test]
    fn steps_after_a_pause_have_a_habit_of_their_own() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut together = [0, 0];
        for i in 0..4000 {
            let rested = i % 5 == 0;
            let begun = now + Duration::from_micros(if rested { 2000 } else { 10 });
            let size = pace.width(2, begun);
            now = begun
                + Duration::from_micros(if size == 1 {
                    60
                } else if rested {
                    100
                } else {
                    30
                });
            together[usize::from(rested)] += usize::from(size == 2);
            pace.took(begun, now, 1, size);
        }
        assert!(together[0] > 3150 && together[1] < 60, "{together:?}");
    }

    #[test]
    fn a_team_that_did_not_come_about_says_nothing() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..100 {
            pace.took(now, now + Duration::from_micros(60), 1, 1);
        }
        assert_eq!(pace.width(2, now), 2);
    }
}
