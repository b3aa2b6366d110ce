//! The stages of a batch. Every member of the team does its share of units in each.
//!
//! | stage | does | then |
//! |---|---|---|
//! | load | gathers the batch, and turns it to feature-major | barrier |
//! | hidden, data | p(h ∣ x); draws the chain's start, unless it persists | barrier |
//! | visible | p(v ∣ h), drawn; the first step's distance from the data | barrier |
//! | hidden, chain | p(h ∣ v); drawn if a further step, or batch, wants it | barrier, and k − 1 times again |
//! | update | one product over data and chain together; weights, biases | barrier |
//!
//! The last product takes both halves of the gradient in one: its left operand holds the hidden means of the data, times lr / n,
//! beside those of the chain, times −lr / chains, and it accumulates in the weights themselves, or in their velocity.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::machine::{Columns, GRANULE, Layer, Machine, STREAM, Sizes, pointer};
use super::{Settings, State};
use crate::element::Float;
use crate::kernels::matmul::{self, MatRef, Product};
use crate::kernels::{gibbs, reduce};
use crate::rng::Draw;
use crate::simd::Flush;
use crate::tensor::Tensor;
use crate::threads::{self, Team};

/// Inputs and outputs of a call.
#[derive(Debug)]
pub struct Job<'a> {
    pub state: &'a State,
    pub settings: &'a Settings,
    pub sizes: Sizes,
    /// Of the first batch; later ones have the calls that follow.
    pub draw: Draw,
}

/// State that learning needs beside a [`Machine`].
struct Learner<'a, T> {
    machine: Machine<T>,
    settings: &'a Settings,
    draw: Draw,
    steps: [*mut T; 3],
    activity: *mut T,
    errors: *mut f64,
}

// SAFETY: as for `Machine`; one member writes errors.
unsafe impl<T> Sync for Learner<'_, T> {}

/// See [`super::Rbm::train`]. Returns how many batches were learned, and by how many threads.
///
/// # Safety
/// `arena` has room for the job's sizes, the state was checked, and so were the rows and their numbers.
pub unsafe fn train<T: Float>(
    job: &Job<'_>,
    arena: *mut T,
    x: &Tensor,
    order: &[i64],
    errors: &mut [f64],
    width: usize,
) -> (usize, usize) {
    let Job { state, settings, sizes, draw } = *job;
    // SAFETY: by this function's contract.
    let mut machine = unsafe { Machine::new(state, settings.visible, sizes, arena) };
    if settings.persistent {
        machine.hidden = Columns { ptr: pointer(&state.chains), stride: sizes.chains };
    }
    let learner = Learner {
        machine,
        settings,
        draw,
        steps: [pointer(&state.weight_step), pointer(&state.visible_step), pointer(&state.hidden_step)],
        activity: pointer(&state.activity),
        errors: errors.as_mut_ptr(),
    };
    let x = x.view();
    let done = AtomicUsize::new(errors.len());
    let nanoseconds = sizes.nanoseconds(settings.k) * errors.len();
    let size = threads::region(width, nanoseconds, &|team| {
        let _flush = Flush::begin();
        for (i, rows) in order.chunks(sizes.data).enumerate() {
            // SAFETY: by this function's contract; all members take the same batches.
            let finite = unsafe {
                learner.machine.load(team, x.ptr::<T>(), rows.len(), |r| rows[r] as usize);
                learner.batch(team, i, rows.len())
            };
            if !finite {
                done.store(i + 1, Ordering::Relaxed);
                break;
            }
        }
    });
    (done.into_inner(), size)
}

impl<T: Float> Learner<'_, T> {
    /// One batch of `n` rows, loaded by this member. False if the error is not finite, and then nothing was changed.
    ///
    /// # Safety
    /// As for [`train`].
    unsafe fn batch(&self, team: &Team, number: usize, n: usize) -> bool {
        let (machine, settings) = (&self.machine, self.settings);
        let persistent = settings.persistent;
        // Chains that start at the data are as many as its rows.
        let chains = if persistent { machine.sizes.chains } else { n };
        let call = self.draw.call.wrapping_add(number as u64);
        let draw = |half_step: usize| Draw { stream: STREAM + half_step as u32, call, ..self.draw };
        let chain = Columns { ptr: machine.both.ptr.wrapping_add(n), ..machine.both };
        let reconstruction = if settings.sample_visible { machine.sample } else { machine.mean };
        // SAFETY: barriers stand between a stage that writes a buffer and one that reads it, as the head of this file says.
        unsafe {
            team.barrier();
            let sample = (!persistent).then(|| (machine.hidden, draw(0)));
            machine.infer_hidden(team, &Layer { n, from: machine.data, mean: machine.both, sample });
            self.weigh_data(team, n);
            if !persistent {
                team.barrier();
            }
            for step in 0..settings.k {
                let last = step + 1 == settings.k;
                let sample = settings.sample_visible.then(|| (machine.sample, draw(1 + 2 * step)));
                let layer = Layer { n: chains, from: machine.hidden, mean: machine.mean, sample };
                machine.infer_visible(team, &layer);
                let share = team.share_aligned(machine.sizes.visible, GRANULE);
                if step == 0 && !persistent {
                    self.measure(share.clone(), n);
                }
                if last {
                    machine.store(share, reconstruction, chains, machine.rows.add(n * machine.sizes.visible));
                }
                team.barrier();
                let sample = (persistent || !last).then(|| (machine.hidden, draw(2 + 2 * step)));
                machine.infer_hidden(team, &Layer { n: chains, from: reconstruction, mean: chain, sample });
                if last {
                    let scale = T::from_f64(-settings.lr / chains as f64);
                    for unit in team.share_aligned(machine.sizes.hidden, GRANULE) {
                        gibbs::shift_scale(T::ZERO, scale, chain.rows(unit..unit + 1, chains));
                    }
                }
                if step == 0 && team.rank() == 0 {
                    *self.errors.add(number) = if persistent { 0.0 } else { self.error(n) };
                }
                team.barrier();
            }
            let finite = (*self.errors.add(number)).is_finite();
            if finite {
                self.update_weights(team, n + chains);
                self.update_visible(team, n, reconstruction, chains);
            }
            team.barrier();
            finite
        }
    }

    /// Turn the hidden means of the data into their share of the step, sparsity included.
    ///
    /// # Safety
    /// As for [`train`]; this member has made its units' means.
    unsafe fn weigh_data(&self, team: &Team, n: usize) {
        let Settings { lr, sparsity_target, sparsity_cost, sparsity_decay, .. } = *self.settings;
        let scale = T::from_f64(lr / n as f64);
        for unit in team.share_aligned(self.machine.sizes.hidden, GRANULE) {
            // SAFETY: this member's unit.
            let (means, activity) =
                unsafe { (self.machine.both.rows(unit..unit + 1, n), &mut *self.activity.add(unit)) };
            let mut shift = 0.0;
            if sparsity_cost != 0.0 {
                let now = reduce::sum(means).to_f64() / n as f64;
                let running = sparsity_decay * activity.to_f64() + (1.0 - sparsity_decay) * now;
                *activity = T::from_f64(running);
                shift = sparsity_cost * (sparsity_target - running);
            }
            gibbs::shift_scale(T::from_f64(shift), scale, means);
        }
    }

    /// The distance of data and reconstruction, unit by unit.
    ///
    /// # Safety
    /// As for [`train`]; this member has made its units' means.
    unsafe fn measure(&self, share: Range<usize>, n: usize) {
        let machine = &self.machine;
        for unit in share {
            // SAFETY: this member's unit; nobody writes the data now.
            unsafe {
                let (x, y) = (machine.data.rows(unit..unit + 1, n), machine.mean.rows(unit..unit + 1, n));
                *machine.distance.add(unit) = gibbs::squared_distance(x, y);
            }
        }
    }

    /// The mean over all units and rows.
    ///
    /// # Safety
    /// As for [`train`]; a barrier came since [`measure`](Self::measure).
    unsafe fn error(&self, n: usize) -> f64 {
        let visible = self.machine.sizes.visible;
        // SAFETY: a number a visible unit.
        let distances = unsafe { std::slice::from_raw_parts(self.machine.distance, visible) };
        reduce::sum_flat(distances).to_f64() / (n * visible) as f64
    }

    /// W and b.
    ///
    /// # Safety
    /// As for [`train`]; both halves of the step are complete.
    unsafe fn update_weights(&self, team: &Team, samples: usize) {
        let machine = &self.machine;
        let Sizes { hidden, visible, .. } = machine.sizes;
        let Settings { lr, momentum, weight_decay, .. } = *self.settings;
        let share = team.share_aligned(hidden, GRANULE);
        let [weight_step, _, hidden_step] = self.steps;
        let (moving, decay) = (momentum != 0.0, lr * weight_decay);
        // SAFETY: this member's units; parameters and their steps have a row, or a number, for each.
        unsafe {
            let rows = |of: *mut T, units: Range<usize>| {
                std::slice::from_raw_parts_mut(of.add(units.start * visible), units.len() * visible)
            };
            let (weights, steps) = (rows(machine.weight, share.clone()), rows(weight_step, share.clone()));
            if moving {
                gibbs::slow_down(T::from_f64(momentum), T::from_f64(decay), weights, steps);
            } else if decay != 0.0 {
                gibbs::shift_scale(T::ZERO, T::from_f64(1.0 - decay), weights);
            }
            let product = Product {
                m: hidden,
                n: visible,
                k: samples,
                a: MatRef {
                    ptr: machine.both.ptr.cast_const(),
                    row_stride: machine.both.stride as isize,
                    col_stride: 1,
                },
                b: MatRef { ptr: machine.rows.cast_const(), row_stride: visible as isize, col_stride: 1 },
                c: if moving { weight_step } else { machine.weight },
                ldc: visible,
                accumulate: true,
                one_block: false,
            };
            matmul::block(&product, share.clone(), 0..visible, &mut |done| {
                if moving {
                    gibbs::add(rows(machine.weight, done.clone()), rows(weight_step, done));
                }
            });
            for unit in share {
                let gradient = reduce::sum(machine.both.rows(unit..unit + 1, samples));
                self.update_bias(machine.hidden_bias.add(unit), hidden_step.add(unit), gradient);
            }
        }
    }

    /// a.
    ///
    /// # Safety
    /// As for [`train`]; the reconstruction is complete.
    unsafe fn update_visible(&self, team: &Team, n: usize, reconstruction: Columns<T>, chains: usize) {
        let machine = &self.machine;
        let lr = self.settings.lr;
        for unit in team.share_aligned(machine.sizes.visible, GRANULE) {
            // SAFETY: this member's unit.
            unsafe {
                let data = reduce::sum(machine.data.rows(unit..unit + 1, n)).to_f64() / n as f64;
                let chain = reduce::sum(reconstruction.rows(unit..unit + 1, chains)).to_f64() / chains as f64;
                let gradient = T::from_f64(lr * (data - chain));
                self.update_bias(machine.visible_bias.add(unit), self.steps[1].add(unit), gradient);
            }
        }
    }

    /// # Safety
    /// Nobody else uses these two numbers.
    unsafe fn update_bias(&self, bias: *mut T, step: *mut T, gradient: T) {
        // SAFETY: by this function's contract.
        unsafe {
            if self.settings.momentum == 0.0 {
                *bias += gradient;
            } else {
                *step = T::from_f64(self.settings.momentum) * *step + gradient;
                *bias += *step;
            }
        }
    }
}
