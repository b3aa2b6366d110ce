//! `x[items] = value`.

use smallvec::smallvec;

use super::{Index, index, index_select};
use crate::element::DType;
use crate::error::Result;
use crate::kernels::elementwise::To;
use crate::ops::in_place::{change_on_tape, flows};
use crate::ops::shape::reshape_to;
use crate::ops::walk::map;
use crate::ops::{
    self, Grads, Op, Outputs, Run, apply, apply_in_place, cast, copy, copy_, eq, expand, mul, shape_error,
};
use crate::tensor::layout::{broadcast, show};
use crate::tensor::tape::Backward;
use crate::tensor::{Meta, Tensor, View};
use crate::with_element;

/// x[place] ← value for all places in the row-major order of x, of which each lies inside. One member writes, so that the
/// last value stays.
fn put(run: &Run<'_>, x: &View<'_>, places: &View<'_>, values: &View<'_>) {
    if run.team.rank() != 0 {
        return;
    }
    let numel = x.numel();
    with_element!(x.dtype(), T => {
        let p = x.ptr::<T>();
        for (&place, &value) in places.slice::<i64>().iter().zip(values.slice::<T>()) {
            let (mut rest, mut offset) = (place as usize, 0);
            if rest >= numel {
                continue;
            }
            for (&size, &stride) in x.shape().iter().zip(x.strides()).rev() {
                offset += (rest % size) as isize * stride;
                rest /= size;
            }
            // SAFETY: the place of an element; the only member that writes.
            unsafe { *p.offset(offset) = value };
        }
    });
}

/// In place. Inputs x, places, values.
#[derive(Clone, Copy, Debug)]
struct Put;

impl Op for Put {
    fn name(&self) -> &'static str {
        "index_put_"
    }

    fn infer(&self, _inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![])
    }

    fn in_place(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], _outputs: &[View<'_>]) {
        put(run, &inputs[0], &inputs[1], &inputs[2]);
    }
}

/// y = x, but y[place] = value. Where places repeat, the last value stays, and the others get no gradient.
///
/// ```text
/// grad_x = g, but 0 at the places        grad_values = g at the places
/// ```
#[derive(Clone, Copy, Debug)]
struct IndexPut;

impl Op for IndexPut {
    fn name(&self) -> &'static str {
        "index_put"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        Ok(smallvec![inputs[0].clone()])
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        with_element!(outputs[0].dtype(), T => map::<T, _>(run.team, To(T::default()), &inputs[0], &outputs[0]));
        run.team.barrier();
        put(run, &outputs[0], &inputs[1], &inputs[2]);
    }

    fn saves(&self) -> ops::Saves {
        ops::Saves::inputs(0b010)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (g, places) = (cx.grad(), cx.input(1));
        let rest = || apply(Self, &[g, places, &Tensor::zeros(places.shape(), g.dtype())]);
        let values = || {
            let stayed = cast(&eq(&last(places, g.shape())?, &order(places.shape()))?, g.dtype())?;
            mul(&at(g, places)?, &stayed)
        };
        Ok(smallvec![cx.needs(0).then(rest).transpose()?, None, cx.needs(2).then(values).transpose()?])
    }
}

/// 0, 1, … in row-major order.
fn order(shape: &[usize]) -> Tensor {
    let all: Vec<i64> = (0..shape.iter().product::<usize>() as i64).collect();
    Tensor::from_slice(&all, shape)
}

/// The elements of x at places in its row-major order.
fn at(x: &Tensor, places: &Tensor) -> Result<Tensor> {
    let found = index_select(&reshape_to(x, &[x.numel()])?, 0, &reshape_to(places, &[places.numel()])?)?;
    reshape_to(&found, places.shape())
}

/// For every place, the number of the last one that is the same.
fn last(places: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let numbers = apply(IndexPut, &[&Tensor::zeros(shape, DType::I64), places, &order(places.shape())])?;
    at(&numbers, places)
}

/// `x[items] = value`, where the value is converted to x's dtype and broadcasts to the shape of `x[items]`. Where positions
/// repeat, the last value stays.
pub fn index_put_(x: &Tensor, items: &[Index], value: &Tensor) -> Result<()> {
    if flows(x, &[value]) {
        x.check_recordable("__setitem__")?;
    }
    if !items.iter().any(|i| matches!(i, Index::Tensor(_))) {
        return copy_(&index(x, items)?, value);
    }
    let places = copy(&index(&order(x.shape()), items)?)?;
    if broadcast("index_put_", value.shape(), places.shape())?.as_slice() != places.shape() {
        let expected = format!("a value that broadcasts to {}", show(places.shape()));
        return Err(shape_error("index_put_", &expected, value.shape()));
    }
    let values = copy(&expand(&cast(value, x.dtype())?, places.shape())?)?;
    if flows(x, &[value]) {
        return change_on_tape("__setitem__", x, |x| apply(IndexPut, &[x, &places, &values]));
    }
    apply_in_place(Put, x, &[&places, &values])
}
