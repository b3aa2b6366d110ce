//! Optimizers: one update rule a file.
//!
//! A [`Rule`] holds the settings of a parameter group, under PyTorch's names and with its defaults. [`Rule::at`] works
//! out the scalars of one step (bias corrections and the like) in f64, rounds each once, and gives a [`Step`], which
//! updates any part of a parameter in place, in one pass. Everything is elementwise and correctly rounded, so that the
//! result has the same bits however the work is split and on every instruction set.
//!
//! A rule keeps two kinds of values of a parameter: *state*, a tensor of the parameter's shape, and *scalars*, such as
//! a product of all past momenta, which live with the number of updates in [`Progress`].
//!
//! To add an optimizer: a file with its settings, its formula and its kernel, and its name in `rules!` below.

#[macro_use]
mod settings;

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod adamw;
mod asgd;
mod lion;
mod nadam;
mod nesterov;
pub mod noise;
mod radam;
mod rmsprop;
mod rprop;
mod sgd;
#[cfg(test)]
mod tests;
pub mod update_options;

pub use adadelta::{Adadelta, AdadeltaStep};
pub use adagrad::{Adagrad, AdagradStep};
pub use adam::{Adam, AdamStep};
pub use adamax::{Adamax, AdamaxStep};
pub use adamw::AdamW;
pub use asgd::{Asgd, AsgdStep};
pub use lion::{Lion, LionStep};
pub use nadam::{NAdam, NAdamStep};
pub use nesterov::{Nesterov, NesterovStep};
pub use radam::{RAdam, RAdamStep};
pub use rmsprop::{RmsProp, RmsPropStep};
pub use rprop::{Rprop, RpropStep};
pub use settings::{Setting, Source};
pub use sgd::{Sgd, SgdStep};

use crate::{DType, Error, Float, Result};

/// The numbers that a rule keeps of a parameter besides its state, in the order of [`Settings::SCALARS`]; the rest unused.
pub type Scalars = [f64; 2];

/// Progress of the training of one parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Number of its updates. A parameter that had no gradient does not count that step, as in PyTorch; a rule that is
    /// not [`Settings::COUNTED`] counts from the making of its state.
    pub updates: u64,
    /// Scalars of its rule; of no meaning before the first update.
    pub scalars: Scalars,
}

/// Settings of an optimizer.
pub trait Settings: Copy {
    /// The scalars of one step, rounded to `T`.
    type Step<T: Float>: Update<T>;

    /// The name that the user knows.
    const NAME: &'static str;

    /// The names of the settings, as in PyTorch's `param_groups`; made by `fields!`.
    const FIELDS: &'static [&'static str];

    /// True if PyTorch's state has a `step`.
    const COUNTED: bool = true;

    /// The keys of the [`Scalars`] in PyTorch's `state_dict`.
    const SCALARS: &'static [&'static str] = &[];

    /// Read all settings; made by `fields!`.
    fn read<S: Source>(source: &S) -> std::result::Result<Self, S::Error>;

    /// The keys of the state in PyTorch's `state_dict`, in the order that [`Update::update`] takes it.
    fn state_names(&self) -> &'static [&'static str];

    /// Value of state `index` before the first step.
    fn initial_state(&self, _index: usize) -> f64 {
        0.0
    }

    /// Refuse what PyTorch refuses, and NaN.
    fn validate(&self) -> Result<()>;

    /// The [`Scalars`] before the first step.
    fn initial_scalars(&self) -> Scalars {
        Scalars::default()
    }

    /// The [`Scalars`] after step `t`, from those before it.
    fn scalars_after(&self, _t: u64, scalars: Scalars) -> Scalars {
        scalars
    }

    /// All numbers of step `t`, the first being 1, from the [`Scalars`] before it.
    fn at<T: Float>(&self, t: u64, scalars: Scalars) -> Self::Step<T>;
}

/// One step of an optimizer, on slices of equal length.
pub trait Update<T: Float>: Copy {
    /// Update a part of a parameter and of its state, in place.
    fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]);
}

macro_rules! rules {
    ($($rule:ident),+ $(,)?) => {
        /// The settings of one parameter group.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Rule {
            $(#[doc = concat!("[`", stringify!($rule), "`].")] $rule($rule),)+
        }

        /// One step of a [`Rule`]: its scalars, rounded to `T`.
        #[derive(Clone, Copy, Debug)]
        pub enum Step<T: Float> {
            $(#[doc = concat!("Of [`", stringify!($rule), "`].")] $rule(<$rule as Settings>::Step<T>),)+
        }

        /// A rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = concat!("[`", stringify!($rule), "`].")] $rule,)+
        }

        impl Kind {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$rule),+];

            /// The name that the user knows.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => <$rule as Settings>::NAME,)+ }
            }

            /// The names of its settings, as in PyTorch's `param_groups`.
            #[must_use]
            pub const fn settings(self) -> &'static [&'static str] {
                match self { $(Self::$rule => <$rule as Settings>::FIELDS,)+ }
            }

            /// True if PyTorch's state has a `step`.
            #[must_use]
            pub const fn counted(self) -> bool {
                match self { $(Self::$rule => <$rule as Settings>::COUNTED,)+ }
            }

            /// The keys of [`Progress::scalars`] in PyTorch's `state_dict`.
            #[must_use]
            pub const fn scalars(self) -> &'static [&'static str] {
                match self { $(Self::$rule => <$rule as Settings>::SCALARS,)+ }
            }

            /// The rule with the settings that a source has now.
            pub fn read<S: Source>(self, source: &S) -> std::result::Result<Rule, S::Error> {
                Ok(match self { $(Self::$rule => Rule::$rule(<$rule as Settings>::read(source)?),)+ })
            }
        }

        impl Rule {
            /// The rule.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self { $(Self::$rule(_) => Kind::$rule,)+ }
            }

            /// The name that the user knows.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                self.kind().name()
            }

            /// The keys of the state in PyTorch's `state_dict`, in the order that [`Step::update`] takes it.
            #[must_use]
            pub fn state_names(&self) -> &'static [&'static str] {
                match self { $(Self::$rule(settings) => settings.state_names(),)+ }
            }

            /// Value of state `index` before the first step.
            #[must_use]
            pub fn initial_state(&self, index: usize) -> f64 {
                match self { $(Self::$rule(settings) => settings.initial_state(index),)+ }
            }

            /// Refuse what PyTorch refuses, and NaN.
            ///
            /// The message reads like `Adam: expected lr of at least 0; got -1`.
            pub fn validate(&self) -> Result<()> {
                match self { $(Self::$rule(settings) => settings.validate(),)+ }
            }

            /// All numbers of the next step.
            #[must_use]
            pub fn at<T: Float>(&self, progress: &Progress) -> Step<T> {
                let (t, scalars) = (progress.updates + 1, self.scalars(progress));
                match self { $(Self::$rule(settings) => Step::$rule(settings.at(t, scalars)),)+ }
            }

            /// Count the next step.
            pub fn advance(&self, progress: &mut Progress) {
                if !self.kind().scalars().is_empty() {
                    let (t, scalars) = (progress.updates + 1, self.scalars(progress));
                    progress.scalars = match self { $(Self::$rule(settings) => settings.scalars_after(t, scalars),)+ };
                }
                progress.updates += 1;
            }

            fn scalars(&self, progress: &Progress) -> Scalars {
                if progress.updates > 0 {
                    return progress.scalars;
                }
                match self { $(Self::$rule(settings) => settings.initial_scalars(),)+ }
            }
        }

        impl<T: Float> Step<T> {
            /// Update a part of a parameter in place; `state` in the order of [`Rule::state_names`].
            #[inline]
            pub fn update(&self, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
                let n = param.len();
                assert!(
                    grad.len() == n && state.iter().all(|slice| slice.len() == n),
                    "parameter, gradient and state have equal lengths"
                );
                match self { $(Self::$rule(step) => step.update(param, grad, state),)+ }
            }
        }

        $(impl From<$rule> for Rule {
            fn from(settings: $rule) -> Self {
                Self::$rule(settings)
            }
        })+
    };
}
rules!(Sgd, Nesterov, Adagrad, Adadelta, RmsProp, Rprop, Asgd, Adam, AdamW, Adamax, NAdam, RAdam, Lion);

impl Kind {
    /// By the name that the user knows.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl Rule {
    /// The next step of a part of a parameter: [`Rule::at`] and [`Step::update`] at once.
    pub fn update<T: Float>(&self, progress: &Progress, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        self.at(progress).update(param, grad, state);
    }
}

/// The gradient that a rule sees: turned round to maximize, then with the penalty's share.
#[derive(Clone, Copy, Debug)]
struct Gradient<T> {
    sign: T,
    weight_decay: T,
}

impl<T: Float> Gradient<T> {
    fn new(weight_decay: f64, maximize: bool) -> Self {
        Self { sign: if maximize { -T::ONE } else { T::ONE }, weight_decay: T::from_f64(weight_decay) }
    }

    /// `±grad + weight_decay · param`
    #[inline(always)]
    fn of(self, grad: T, param: T) -> T {
        let grad = self.sign * grad;
        // Without decay an infinite parameter leaves the gradient alone.
        if self.weight_decay == T::ZERO { grad } else { self.weight_decay.mul_add(param, grad) }
    }
}

/// Weight decay as a share of the gradient and as a factor of the parameter, one of which does nothing.
fn decay(weight_decay: f64, lr: f64, decoupled: bool) -> (f64, f64) {
    if decoupled { (0.0, 1.0 - lr * weight_decay) } else { (weight_decay, 1.0) }
}

/// A moving average of gradients that goes a share `1 − keep` of the way to the new value, reckoned from the nearer end,
/// as `torch.lerp` does: `keep = 0` gives exactly the new value, and a constant is a fixed point.
#[derive(Clone, Copy, Debug)]
struct Lerp<T> {
    share: T,
    from_new: bool,
    floor: Floor<T>,
}

impl<T: Float> Lerp<T> {
    fn new(keep: f64) -> Self {
        let from_new = keep <= 0.5;
        let share = if from_new { -keep } else { 1.0 - keep };
        Self { share: T::from_f64(share), from_new, floor: Floor::new() }
    }

    #[inline(always)]
    fn of(self, old: T, new: T) -> T {
        self.floor.of(self.share.mul_add(new - old, if self.from_new { new } else { old }))
    }
}

/// A moving average of squares: `keep · old + (1 − keep) · value²`, each weight rounded by itself, as in PyTorch.
#[derive(Clone, Copy, Debug)]
struct SquareAverage<T> {
    keep: T,
    share: T,
    floor: Floor<T>,
}

impl<T: Float> SquareAverage<T> {
    /// `eps` is what will be added to the average or to its root; 0 if the average meets anything else before.
    fn new(keep: f64, eps: f64) -> Self {
        Self { keep: T::from_f64(keep), share: T::from_f64(1.0 - keep), floor: Floor::hidden_by(eps) }
    }

    #[inline(always)]
    fn of(self, old: T, value: T) -> T {
        self.floor.of(self.keep.mul_add(old, self.share * value * value))
    }
}

/// Takes a subnormal average for 0. Once its gradients stay 0, as those of a dead unit do, an average decays until it
/// is subnormal and rounds to itself; every later step is then 10 to 30 times slower.
#[derive(Clone, Copy, Debug)]
struct Floor<T>(T);

impl<T: Float> Floor<T> {
    fn new() -> Self {
        Self(T::from_f64(match T::DTYPE {
            DType::F32 => f64::from(f32::MIN_POSITIVE),
            _ => f64::MIN_POSITIVE,
        }))
    }

    /// A floor under squares, if `eps` plus a root as small as that rounds to `eps`; else none.
    fn hidden_by(eps: f64) -> Self {
        let floor = Self::new();
        let unseen = match T::DTYPE {
            DType::F32 => 1e-9,
            _ => 1e-18,
        };
        if floor.0.to_f64().sqrt() <= eps * unseen { floor } else { Self(T::ZERO) }
    }

    #[inline(always)]
    fn of(self, average: T) -> T {
        if average.abs() < self.0 { T::ZERO } else { average }
    }
}

/// The checks of settings; they name the optimizer.
struct Check(&'static str);

impl Check {
    fn at_least_0(&self, setting: &str, value: f64) -> Result<()> {
        self.that(value >= 0.0, || format!("{setting} of at least 0; got {}", show(value)))
    }

    /// PyTorch takes any value; but NaN is never meant.
    fn number(&self, setting: &str, value: f64) -> Result<()> {
        self.that(!value.is_nan(), || format!("a number for {setting}; got nan"))
    }

    fn share(&self, setting: &str, value: f64) -> Result<()> {
        self.that((0.0..1.0).contains(&value), || format!("{setting} in [0, 1); got {}", show(value)))
    }

    fn that(&self, holds: bool, expected: impl FnOnce() -> String) -> Result<()> {
        if holds { Ok(()) } else { Err(Error::value(format!("{}: expected {}", self.0, expected()))) }
    }
}

/// The direction of a number: −1, 0 or 1; NaN for NaN.
#[inline(always)]
fn sign<T: Float>(x: T) -> T {
    if x > T::ZERO {
        T::ONE
    } else if x < T::ZERO {
        -T::ONE
    } else {
        x
    }
}

/// A number as Python would write it, near enough.
fn show(value: f64) -> String {
    match value.abs() {
        size if size.is_nan() => "nan".into(),
        size if size == 0.0 || (1e-4..1e16).contains(&size) => format!("{value}"),
        size if size.is_infinite() => format!("{value}"),
        _ => format!("{value:e}"),
    }
}
