//! Batches of steps: given, or gathered from whole arrays, and augmented on the way.

use smallvec::SmallVec;

use crate::data::augment::{Mixed, Pipeline, Shape, Worker, mix_images, mix_labels, mix_targets, mix_weights};
use crate::element::{DType, Float};
use crate::error::{Error, Result};
use crate::kernels::image::{Pixel, Sampled};
use crate::kernels::position::{read_ref, within};
use crate::ops::random;
use crate::tensor::{Meta, Storage, Tensor};
use crate::threads::Team;
use crate::with_float;

/// Addresses of a batch.
pub(super) type Pointers = SmallVec<[*mut u8; 4]>;

/// Scratch of a member.
#[derive(Default)]
pub(super) struct Desk {
    single: Worker<f32>,
    double: Worker<f64>,
}

/// Source of a step's batch.
pub(super) enum Batches<'a> {
    /// These addresses.
    Given(&'a [*mut u8]),
    /// Rows of whole arrays.
    Rows(&'a Rows<'a>),
}

// SAFETY: addresses that members of a team only read.
unsafe impl Sync for Batches<'_> {}

impl Batches<'_> {
    /// The bytes of each tensor of a gathered batch like this; one more for images that are yet to be mixed.
    pub(super) fn room<'m>(&self, batch: &'m [Meta]) -> impl Iterator<Item = usize> + 'm {
        let tensors = match self {
            Self::Given(_) => 0,
            Self::Rows(rows) => batch.len() + usize::from(rows.mixes()),
        };
        batch.iter().chain(&batch[..1]).map(|meta| meta.numel() * meta.dtype.size()).take(tensors)
    }

    /// Number of calls of the generator that a batch takes.
    pub(super) fn draws(&self) -> u64 {
        match self {
            Self::Rows(Rows { augment: Some(augment), .. }) => augment.pipeline.draws(),
            _ => 0,
        }
    }

    /// The addresses of step `i`'s batch, gathered by the team if its rows do not lie together or are augmented, which
    /// draws from the generator in this state.
    pub(super) fn fetch(
        &self,
        i: usize,
        state: (u64, u64),
        gathered: &[Storage],
        team: &Team,
        desk: &mut Desk,
        pointers: &mut Pointers,
    ) {
        match self {
            Self::Given(given) => {
                pointers.clear();
                pointers.extend_from_slice(given);
            }
            Self::Rows(rows) => rows.fetch(i, state, gathered, team, desk, pointers),
        }
    }
}

/// Batches as rows of whole arrays.
pub(super) struct Rows<'a> {
    data: &'a [Tensor],
    /// Bytes of a row of each.
    row_bytes: Vec<usize>,
    order: &'a [i64],
    samples: usize,
    augment: Option<Augment<'a>>,
    /// True if a step writes nothing of the data, so that rows which lie together need no copy.
    apart: bool,
}

struct Augment<'a> {
    pipeline: &'a Pipeline,
    from: Shape,
    to: Shape,
    /// Probabilities are made of this many classes.
    classes: Option<usize>,
}

/// Shapes and dtypes of a batch of `samples` rows of `data`, augmented: of inputs, targets and perhaps weights.
pub fn batch_of(data: &[Tensor], samples: usize, augment: Option<&Pipeline>) -> Result<SmallVec<[Meta; 3]>> {
    let mut metas: SmallVec<[Meta; 3]> = data.iter().map(Tensor::meta).collect();
    for meta in &mut metas {
        match meta.shape.first_mut() {
            Some(rows) => *rows = samples,
            None => return Err(Error::value("plan: expected arrays that have rows")),
        }
    }
    let Some(pipeline) = augment else { return Ok(metas) };
    if !metas[0].dtype.is_float() {
        return Err(Error::dtype(format!(
            "plan: expected inputs of floating point to augment; got {}",
            metas[0].dtype
        )));
    }
    let to = pipeline.shape(pipeline.shape_of(&metas[0].shape)?)?;
    if let [_, c, h, w] = &mut metas[0].shape[..] {
        (*c, *h, *w) = (to.c, to.h, to.w);
    }
    if let (Some(mix), DType::I64) = (pipeline.mix(), metas[1].dtype) {
        let (Some(classes), 1) = (mix.classes, metas[1].shape.len()) else {
            return Err(Error::value("plan: expected num_classes, and class indices of shape (n,), to mix"));
        };
        metas[1] = Meta::new(&[samples, classes], metas[0].dtype);
    }
    Ok(metas)
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        batch: &[Meta],
        data: &'a [Tensor],
        order: &'a [i64],
        steps: usize,
        augment: Option<&'a Pipeline>,
    ) -> Result<Self> {
        let samples = batch[0].shape[0];
        let expected = batch_of(data, samples, augment)?;
        for ((tensor, expected), meta) in data.iter().zip(&expected).zip(batch) {
            if expected != meta || !tensor.layout().is_contiguous() {
                return Err(Error::value(format!("plan: expected contiguous rows like {meta:?}; got {tensor:?}")));
            }
        }
        let rows = data[0].shape()[0];
        if data.len() != batch.len() || data.iter().any(|t| t.shape()[0] != rows) {
            return Err(Error::value("plan: expected arrays of one length, as many as the batch has"));
        }
        if order.len() != steps * samples {
            return Err(Error::value(format!(
                "plan: expected {steps} times {samples} row numbers; got {}",
                order.len()
            )));
        }
        if let Some(bad) = order.iter().find(|&&r| r < 0 || r as usize >= rows) {
            return Err(Error::index(format!("plan: expected row numbers in [0, {rows}); got {bad}")));
        }
        let row_bytes = data.iter().map(|t| t.shape()[1..].iter().product::<usize>() * t.dtype().size()).collect();
        let augment = match augment {
            Some(pipeline) => {
                if let Some(weights) = data.get(2).filter(|w| w.dtype() != data[0].dtype()) {
                    return Err(Error::dtype(format!("plan: expected weights in the type of inputs; got {weights:?}")));
                }
                let from = pipeline.shape_of(data[0].shape())?;
                let to = pipeline.shape(from)?;
                let labels = data[1].dtype() == DType::I64;
                let classes = pipeline.mix().filter(|_| labels).map(|_| batch[1].shape[1]);
                if let Some(classes) = classes {
                    let labels = data[1].view().slice::<i64>();
                    let label = |&row: &i64| read_ref(&labels[row as usize]);
                    if let Some(label) = order.iter().map(label).find(|&label| within(label, classes).is_none()) {
                        return Err(Error::value(format!("mixup: expected targets in [0, {classes}); got {label}")));
                    }
                }
                Some(Augment { pipeline, from, to, classes })
            }
            None => None,
        };
        Ok(Self { data, row_bytes, order, samples, augment, apart: true })
    }

    /// With rows that are copied before each step, unless they lie apart from what it writes.
    pub(super) fn apart(self, apart: bool) -> Self {
        Self { apart, ..self }
    }

    /// The numbers of all rows.
    pub(super) fn order(&self) -> &[i64] {
        self.order
    }

    /// True if images are mixed, which takes room for one more batch of them.
    pub(super) fn mixes(&self) -> bool {
        self.augment.as_ref().is_some_and(|augment| augment.pipeline.mix().is_some())
    }

    fn fetch(
        &self,
        i: usize,
        state: (u64, u64),
        gathered: &[Storage],
        team: &Team,
        desk: &mut Desk,
        pointers: &mut Pointers,
    ) {
        let order = &self.order[i * self.samples..(i + 1) * self.samples];
        pointers.clear();
        if let Some(augment) = &self.augment {
            match self.data[0].dtype() {
                DType::F64 => self.augmented(augment, order, state, gathered, team, &mut desk.double),
                _ => self.augmented(augment, order, state, gathered, team, &mut desk.single),
            }
            pointers.extend(gathered[..self.data.len()].iter().map(Storage::ptr));
            team.barrier();
            return;
        }
        let together = self.apart && order.windows(2).all(|w| w[1] == w[0] + 1);
        for (k, to) in gathered.iter().enumerate().take(self.data.len()) {
            if together {
                // SAFETY: row numbers were checked, and nobody else has the memory they are in.
                pointers.push(unsafe { self.data[k].view().address().add(order[0] as usize * self.row_bytes[k]) });
                continue;
            }
            self.gather(k, order, to, team);
            pointers.push(to.ptr());
        }
        if !together {
            team.barrier();
        }
    }

    /// Copy this member's share of the rows of tensor `k`.
    fn gather(&self, k: usize, order: &[i64], to: &Storage, team: &Team) {
        let (from, bytes) = (self.data[k].view().address(), self.row_bytes[k]);
        for r in team.share(self.samples) {
            // SAFETY: row numbers were checked; shares are disjoint; everyone has left the last step's batch.
            unsafe {
                std::ptr::copy_nonoverlapping(from.add(order[r] as usize * bytes), to.ptr().add(r * bytes), bytes);
            }
        }
    }

    /// This member's share of an augmented batch.
    fn augmented<T: Pixel<Compute = T> + Sampled>(
        &self,
        augment: &Augment<'_>,
        order: &[i64],
        state: (u64, u64),
        gathered: &[Storage],
        team: &Team,
        worker: &mut Worker<T>,
    ) {
        let (draw, pipeline) = (random::augment_draw(state), augment.pipeline);
        let (from, to) = (augment.from.numel(), augment.to.numel());
        let x = self.data[0].view().slice::<T>();
        let mixed = pipeline.mixed(draw, self.samples, augment.to);
        let first = gathered[if mixed.is_some() { self.data.len() } else { 0 }].ptr().cast::<T>();
        for r in team.share(self.samples) {
            let row = order[r] as usize;
            // SAFETY: the storage has room for `samples` images; shares are disjoint.
            let out = unsafe { std::slice::from_raw_parts_mut(first.add(r * to), to) };
            worker.run(pipeline, draw, r, augment.from, &x[row * from..(row + 1) * from], out);
        }
        let Some(mixed) = mixed else {
            (1..self.data.len()).for_each(|k| self.gather(k, order, &gathered[k], team));
            return;
        };
        team.barrier();
        // SAFETY: all have written their images, and nobody writes there before the next barrier.
        let images = unsafe { std::slice::from_raw_parts(first, self.samples * to) };
        let out = gathered[0].ptr().cast::<T>();
        for r in team.share(self.samples) {
            // SAFETY: as above.
            let out = unsafe { std::slice::from_raw_parts_mut(out.add(r * to), to) };
            mix_images(&mixed, r, augment.to, images, out);
        }
        self.mix_targets::<T>(&mixed, augment.classes, order, gathered, team);
        if let Some(weights) = self.data.get(2) {
            let weights = weights.view().slice::<T>();
            let weight = |r: usize| weights[order[r] as usize].to_f64();
            for r in team.share(self.samples) {
                // SAFETY: as above.
                unsafe { *gathered[2].ptr().cast::<T>().add(r) = T::from_f64(mix_weights(&mixed, r, weight)) };
            }
        }
    }

    fn mix_targets<T: Float>(
        &self,
        mixed: &Mixed,
        classes: Option<usize>,
        order: &[i64],
        gathered: &[Storage],
        team: &Team,
    ) {
        let y = &self.data[1];
        if let Some(classes) = classes {
            let labels = y.view().slice::<i64>();
            let weights = self.data.get(2).map(|weights| weights.view().slice::<T>());
            let label = |r: usize| read_ref(&labels[order[r] as usize]);
            let weight = |r: usize| weights.map_or(1.0, |w| w[order[r] as usize].to_f64());
            for r in team.share(self.samples) {
                let first = gathered[1].ptr().cast::<T>();
                // SAFETY: the storage has room for `samples` rows of `classes`; shares are disjoint.
                let out = unsafe { std::slice::from_raw_parts_mut(first.add(r * classes), classes) };
                // One that others have changed since it was checked has no part in the target.
                let _ = mix_labels(mixed, r, label, weight, out);
            }
            return;
        }
        if !y.dtype().is_float() {
            self.gather(1, order, &gathered[1], team);
            return;
        }
        with_float!(y.dtype(), U => self.mix_numbers::<U>(mixed, order, &gathered[1], team));
    }

    fn mix_numbers<T: Float>(&self, mixed: &Mixed, order: &[i64], gathered: &Storage, team: &Team) {
        let values = self.data[1].view().slice::<T>();
        let width = self.row_bytes[1] / T::DTYPE.size();
        let row = |r: usize| &values[order[r] as usize * width..][..width];
        for r in team.share(self.samples) {
            let first = gathered.ptr().cast::<T>();
            // SAFETY: the storage has room for `samples` rows of this width; shares are disjoint.
            let out = unsafe { std::slice::from_raw_parts_mut(first.add(r * width), width) };
            mix_targets(mixed, row(r), row(mixed.partner(r)), out);
        }
    }
}
