//! Sources of draws: the generator of the process, and those that threads have of their own.
//!
//! | a thread draws from | while |
//! |---|---|
//! | the generator that it was given ([`set_own_state`]) | it has one |
//! | the one that it trains with | a fit is on in it, or it has trained ([`begin_training`]), or it was seeded itself |
//! | that of the process | otherwise |
//!
//! The main thread lends the generator of the process to a fit, and takes it back at the end. A fit in another thread
//! begins where the generator of the process stands, and leaves it alone. So the numbers of a fit depend on the state at
//! its begin, and not on what other threads draw meanwhile.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::rng::{Draw, Generator};

/// The stream of random tensors and masks.
const TENSORS: u32 = 0;
/// The stream of the data's order.
pub(super) const SHUFFLES: u32 = 1;
/// The stream of noise on gradients.
const GRADIENTS: u32 = 2;

/// The first call of threads that draw from the generator of the process while a fit has it: far from the fit's calls.
const BESIDE: u64 = 1 << 62;

/// The generator of the process.
struct Shared {
    generator: Generator,
    /// Generator of threads that have none, while a fit in the main thread has `generator`.
    beside: Generator,
    lent: bool,
    /// Number of times that a user has set the state.
    seedings: u64,
}

/// None until it is first asked.
static SHARED: Mutex<Option<Shared>> = Mutex::new(None);

/// Why a thread trains with a generator of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The thread was seeded.
    Seeded,
    /// It has the generator of the process until its fit ends.
    Lent,
    /// It has one until its fit ends, which began after this many seedings of the process.
    Fit(u64),
    /// It began where the generator of the process stood after this many seedings.
    Copied(u64),
}

#[derive(Clone, Copy)]
struct Training {
    generator: Generator,
    origin: Origin,
}

/// The generators of a thread.
struct Own {
    given: Option<Generator>,
    training: Option<Training>,
}

thread_local! {
    static OWN: RefCell<Own> = const { RefCell::new(Own { given: None, training: None }) };
}

fn shared<R>(f: impl FnOnce(&mut Shared) -> R) -> R {
    let mut guard: MutexGuard<'_, Option<Shared>> = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    f(guard.get_or_insert_with(|| {
        // The hasher's keys are random: as in PyTorch, a process that sets no seed gets another one each time.
        let seed = RandomState::new().hash_one(0);
        Shared { generator: Generator::new(seed), beside: Generator::at((seed, BESIDE)), lent: false, seedings: 0 }
    }))
}

impl Shared {
    fn with<R>(&mut self, f: impl FnOnce(&mut Generator) -> R) -> R {
        if self.lent {
            return f(&mut self.beside);
        }
        let result = f(&mut self.generator);
        self.follow();
        result
    }

    /// Let `beside` have the seed of the generator.
    fn follow(&mut self) {
        let seed = self.generator.state().0;
        if self.beside.state().0 != seed {
            self.beside = Generator::at((seed, BESIDE));
        }
    }
}

fn with_generator<R>(f: impl FnOnce(&mut Generator) -> R) -> R {
    OWN.with_borrow_mut(|own| match own {
        Own { given: Some(generator), .. } | Own { training: Some(Training { generator, .. }), .. } => f(generator),
        Own { given: None, training: None } => shared(|s| s.with(f)),
    })
}

/// Go on from a state that the user sets.
pub fn set_state(state: (u64, u64)) {
    OWN.with_borrow_mut(|own| match own {
        Own { given: Some(generator), .. } | Own { training: Some(Training { generator, .. }), .. } => {
            generator.set_state(state);
        }
        Own { given: None, training: None } => shared(|s| {
            s.seedings += 1;
            s.with(|g| g.set_state(state));
        }),
    });
}

/// [`set_state`] for a thread other than the main one, which has a generator of its own from then on.
pub fn set_state_own(state: (u64, u64)) {
    OWN.with_borrow_mut(|own| match own {
        Own { given: Some(generator), .. } => generator.set_state(state),
        Own { training, .. } => *training = Some(Training { generator: Generator::at(state), origin: Origin::Seeded }),
    });
}

/// Begin again from `seed`.
pub fn manual_seed(seed: u64) {
    set_state(Generator::new(seed).state());
}

/// [`manual_seed`] for a thread other than the main one, which has a generator of its own from then on.
pub fn manual_seed_own(seed: u64) {
    set_state_own(Generator::new(seed).state());
}

/// Let a thread other than the main one train with a generator of its own from now on, which begins where that of the
/// process stands. One that it has goes on, unless the process was seeded since it began.
pub fn begin_training() {
    OWN.with_borrow_mut(|own| {
        if own.given.is_none() {
            let began = own.training.map(|t| t.origin);
            own.training = match began {
                Some(Origin::Seeded | Origin::Lent | Origin::Fit(_)) => own.training,
                _ => shared(|s| match began {
                    Some(Origin::Copied(seedings)) if seedings == s.seedings => own.training,
                    _ => Some(Training { generator: s.generator, origin: Origin::Copied(s.seedings) }),
                }),
            };
        }
    });
}

/// Final state of a fit's generator, for the next fit of the same model in a thread other than the main one.
#[derive(Clone, Copy, Debug)]
pub struct FitDraws {
    state: (u64, u64),
    seedings: u64,
}

/// Let a fit draw from a generator of its own, until [`end_fit`]. In the main thread it is that of the process; elsewhere one
/// that begins where the last fit of the same model ended, or, if the process was seeded since, where its generator stands.
///
/// Returns whether there is anything to end: a thread that has a generator of its own goes on with it.
#[must_use]
pub fn begin_fit(main: bool, last: Option<FitDraws>) -> bool {
    OWN.with_borrow_mut(|own| {
        let has = own.training.map(|t| t.origin);
        if own.given.is_some() || matches!(has, Some(Origin::Seeded | Origin::Lent | Origin::Fit(_))) {
            return false;
        }
        shared(|s| {
            if has == Some(Origin::Copied(s.seedings)) {
                return false;
            }
            // After a fork the child's main thread may be another than the one that has the generator.
            if main && !s.lent {
                s.lent = true;
                own.training = Some(Training { generator: s.generator, origin: Origin::Lent });
                return true;
            }
            let generator = match last {
                Some(last) if last.seedings == s.seedings => Generator::at(last.state),
                _ => s.generator,
            };
            own.training = Some(Training { generator, origin: Origin::Fit(s.seedings) });
            true
        })
    })
}

/// End what [`begin_fit`] began.
#[must_use]
pub fn end_fit() -> Option<FitDraws> {
    OWN.with_borrow_mut(|own| {
        let Training { generator, origin } = own.training?;
        let ended = match origin {
            // The thread was seeded during the fit, and keeps its generator.
            Origin::Seeded | Origin::Copied(_) => return None,
            Origin::Fit(seedings) => Some(FitDraws { state: generator.state(), seedings }),
            Origin::Lent => shared(|s| {
                s.generator = generator;
                s.lent = false;
                s.follow();
                None
            }),
        };
        own.training = None;
        ended
    })
}

/// A draw that no other op has.
#[must_use]
pub fn next_draw() -> Draw {
    with_generator(|g| g.next_call(TENSORS))
}

/// A draw for a permutation.
#[must_use]
pub(super) fn next_shuffle() -> Draw {
    with_generator(|g| g.next_call(SHUFFLES))
}

/// A draw for noise on gradients.
#[must_use]
pub fn next_gradient_draw() -> Draw {
    with_generator(|g| g.next_call(GRADIENTS))
}

/// The draw that [`next_gradient_draw`] gives in a state of the generator.
#[must_use]
pub fn gradient_draw((seed, call): (u64, u64)) -> Draw {
    Draw { seed, stream: GRADIENTS, call }
}

/// The draw that an augmented batch takes in a state of the generator; its streams are its own.
#[must_use]
pub fn augment_draw((seed, call): (u64, u64)) -> Draw {
    Draw { seed, stream: TENSORS, call }
}

/// The first of `calls` draws in a row that no other op has; the others have the calls that follow.
#[must_use]
pub fn reserve(calls: u64) -> Draw {
    with_generator(|g| {
        let first = g.next_call(TENSORS);
        g.set_state((first.seed, first.call.wrapping_add(calls)));
        first
    })
}

/// Count `calls` draws that were taken from [`state`].
pub fn advance(calls: u64) {
    with_generator(|g| {
        let (seed, call) = g.state();
        g.set_state((seed, call.wrapping_add(calls)));
    });
}

/// (seed, number of draws so far).
#[must_use]
pub fn state() -> (u64, u64) {
    with_generator(|g| g.state())
}

/// Give this thread a generator of its own, which stands at a state; or, with `None`, take it away. What threads draw
/// beside each other then depends on no clock.
///
/// Returns where the one that it was given before stood.
#[must_use]
pub fn set_own_state(state: Option<(u64, u64)>) -> Option<(u64, u64)> {
    OWN.with_borrow_mut(|own| std::mem::replace(&mut own.given, state.map(Generator::at))).map(|g| g.state())
}
