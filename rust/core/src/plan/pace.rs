//! How many threads a short step takes: as many as make it faster, found by trying.
//!
//! A second thread halves a step of 50 µs on an idle machine, and doubles it where another process has the core. No
//! estimate knows which, so a plan times its steps alone and with the team, keeps to the faster way, and tries the other
//! one again now and then. The numbers never depend on it.

use std::time::Duration;

/// Steps of a trial. The first wakes sleeping threads; the fastest counts.
const TRIAL: u32 = 4;
/// Steps between trials of the slower way: about 1 % of the time goes into trials.
const BETWEEN_TRIALS: u32 = 400;
/// Steps after which the faster way's own time is taken afresh.
const WINDOW: u32 = 32;
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

/// What a plan knows of its own speed.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Fastest recent step of each way.
    fastest: [Option<Duration>; 2],
    way: Way,
    trying: bool,
    steps: u32,
    /// Fastest step of the current window.
    window: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { fastest: [None; 2], way: Way::Together, trying: true, steps: 0, window: None }
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
        let each = time / steps.max(1);
        self.window = Some(self.window.map_or(each, |w| w.min(each)));
        self.steps += steps;
        if self.trying {
            if self.steps >= TRIAL {
                self.end_trial();
            }
        } else if self.steps >= BETWEEN_TRIALS {
            self.keep_window();
            if each < LONG || self.way == Way::Alone {
                self.begin_trial();
            } else {
                self.steps = 0;
            }
        } else if self.steps % WINDOW == 0 {
            self.keep_window();
        }
    }

    fn keep_window(&mut self) {
        if let Some(fastest) = self.window.take() {
            self.fastest[self.way as usize] = Some(fastest);
        }
    }

    fn begin_trial(&mut self) {
        (self.way, self.trying, self.steps, self.window) = (self.way.other(), true, 0, None);
    }

    fn end_trial(&mut self) {
        self.keep_window();
        let [alone, together] = self.fastest;
        match (alone, together) {
            (None, Some(together)) if together < LONG => return self.begin_trial(),
            (Some(_), None) => return self.begin_trial(),
            (Some(alone), Some(together)) if alone < together => self.way = Way::Alone,
            _ => self.way = Way::Together,
        }
        (self.trying, self.steps, self.window) = (false, 0, None);
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
