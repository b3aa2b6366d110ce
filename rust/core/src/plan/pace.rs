//! How many threads a short step takes: as many as make it faster, found by trying.
//!
//! A second thread halves a step of 50 µs on an idle machine, and doubles it where another process has the core. No
//! estimate knows which, so a plan times its steps alone and with the team, keeps to the faster way, and tries the other
//! one again now and then. The numbers never depend on it.

use std::time::Duration;

/// Steps of a trial; the first few wake sleeping threads and do not count.
const TRIAL: u32 = 8;
const WARM_UP: u32 = 2;
/// Steps between trials of the slower way: 1 or 2 % of the time goes into trials.
const BETWEEN_TRIALS: u32 = 500;
/// Steps after which the faster way's own time is taken afresh.
const WINDOW: u32 = 50;
/// Steps that take longer than this are always worth the team.
const LONG: Duration = Duration::from_millis(2);

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

/// What a plan knows of its own speed. Means, not the best times: where another process shares the core, it is the
/// steps that had to wait for it that make a team slow.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Mean time of recent steps, each way.
    mean: [Option<Duration>; 2],
    way: Way,
    trying: bool,
    /// Steps since the trial or the time between trials began.
    steps: u32,
    /// Time and number of the steps that count at the moment.
    window: (Duration, u32),
}

impl Default for Pace {
    fn default() -> Self {
        Self { mean: [None; 2], way: Way::Together, trying: true, steps: 0, window: (Duration::ZERO, 0) }
    }
}

impl Pace {
    /// How many threads the next step takes, of at most `most`.
    #[must_use]
    pub fn width(&self, most: usize) -> usize {
        if self.way == Way::Alone { 1 } else { most }
    }

    /// Note how long the last `steps` steps took.
    pub fn took(&mut self, time: Duration, steps: u32) {
        self.steps += steps;
        if !self.trying || self.steps > WARM_UP {
            self.window = (self.window.0 + time, self.window.1 + steps);
        }
        if self.trying {
            if self.steps >= TRIAL {
                self.end_trial();
            }
            return;
        }
        if self.window.1 >= WINDOW {
            self.end_window();
        }
        if self.steps >= BETWEEN_TRIALS {
            let long = self.mean[self.way as usize].is_some_and(|mean| mean >= LONG);
            if long && self.way == Way::Together { self.steps = 0 } else { self.begin_trial() }
        }
    }

    fn end_window(&mut self) {
        let (time, steps) = std::mem::take(&mut self.window);
        if steps > 0 {
            self.mean[self.way as usize] = Some(time / steps);
        }
    }

    fn begin_trial(&mut self) {
        (self.way, self.trying, self.steps, self.window) = (self.way.other(), true, 0, (Duration::ZERO, 0));
    }

    fn end_trial(&mut self) {
        self.end_window();
        self.way = match self.mean {
            [None, Some(together)] if together < LONG => return self.begin_trial(),
            [Some(_), None] => return self.begin_trial(),
            [Some(alone), Some(together)] if alone < together => Way::Alone,
            _ => Way::Together,
        };
        (self.trying, self.steps) = (false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run `n` steps whose times these are; returns how many were taken together.
    fn run(pace: &mut Pace, n: usize, alone: u64, together: u64) -> usize {
        (0..n)
            .filter(|_| {
                let width = pace.width(2);
                pace.took(Duration::from_micros(if width == 1 { alone } else { together }), 1);
                width == 2
            })
            .count()
    }

    #[test]
    fn the_faster_way_is_kept_and_the_other_tried_rarely() {
        let mut pace = Pace::default();
        assert!(run(&mut pace, 4000, 60, 100) < 100);
        assert!(run(&mut pace, 4000, 60, 30) > 3300, "it notices that the other core has become free");
        assert!(run(&mut pace, 4000, 60, 200) < 600, "and that it is taken again");
    }

    #[test]
    fn long_steps_are_never_tried_alone() {
        let mut pace = Pace::default();
        assert_eq!(run(&mut pace, 2000, 9000, 5000), 2000);
    }
}
