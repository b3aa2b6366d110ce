//! Matrix products of vectors, matrices, and stacks of matrices that broadcast together.
//!
//! ```text
//! y = a · b        grad_a = g · bᵀ        grad_b = aᵀ · g
//! ```
//! As in `PyTorch`, a vector is a row on the left and a column on the right, and that dimension is not in the result.
//! Gradients are summed over the dimensions along which an operand was stretched.

use smallvec::smallvec;

use super::product::{Matrix, product, work};
use super::{Grads, Op, Outputs, Run, Saves, apply, float_dtype, second, sum_to};
use crate::element::Float;
use crate::error::{Error, Result};
use crate::tensor::layout::{Dims, broadcast, show};
use crate::tensor::tape::{Backward, through};
use crate::tensor::{Layout, Meta, Tensor, View};
use crate::threads::Team;
use crate::with_float;

/// Inputs a (k), (m, k) or (…, m, k), and b (k), (k, n) or (…, k, n).
#[derive(Clone, Copy, Debug)]
pub struct Matmul;

/// g · bᵀ: inputs g, b. Not yet summed over stretched dimensions.
#[derive(Clone, Copy, Debug)]
pub struct MatmulGradLeft {
    /// True if a is a vector.
    pub vector: bool,
}

/// aᵀ · g: inputs a, g. Not yet summed over stretched dimensions, unless b has none.
#[derive(Clone, Copy, Debug)]
pub struct MatmulGradRight {
    /// Number of dimensions of b. Up to two, all matrices of a are read as one tall one.
    pub ndim: usize,
}

/// A layout with a dimension of size 1 before dimension `dim`.
fn insert(layout: &Layout, dim: usize) -> Layout {
    let mut layout = layout.clone();
    layout.shape.insert(dim, 1);
    layout.strides.insert(dim, 0);
    layout
}

/// The left operand with at least two dimensions.
fn left(layout: &Layout) -> Layout {
    if layout.ndim() == 1 { insert(layout, 0) } else { layout.clone() }
}

/// The right operand with at least two dimensions.
fn right(layout: &Layout) -> Layout {
    if layout.ndim() == 1 { insert(layout, 1) } else { layout.clone() }
}

/// The result, or its gradient, with the dimensions that vectors took away.
fn result(layout: &Layout, a_is_vector: bool, b_is_vector: bool) -> Layout {
    let with_column = if b_is_vector { insert(layout, layout.ndim()) } else { layout.clone() };
    if a_is_vector { insert(&with_column, with_column.ndim() - 1) } else { with_column }
}

/// The last two dimensions exchanged.
fn transpose(mut layout: Layout) -> Layout {
    let n = layout.ndim();
    layout.shape.swap(n - 2, n - 1);
    layout.strides.swap(n - 2, n - 1);
    layout
}

/// The shape of a stack: (…, rows, cols) as dimensions of the stack, rows, cols.
fn split(shape: &[usize]) -> (&[usize], usize, usize) {
    let (stack, matrix) = shape.split_at(shape.len() - 2);
    (stack, matrix[0], matrix[1])
}

/// A stack of matrices, its first element's place left out.
fn matrix<T>(ptr: *mut T, layout: &Layout) -> Matrix<T> {
    let n = layout.ndim();
    Matrix {
        ptr,
        rows: layout.shape[n - 2],
        cols: layout.shape[n - 1],
        row: layout.strides[n - 2],
        col: layout.strides[n - 1],
    }
}

/// Offset of matrix `index` of a stack.
fn offset(shape: &[usize], strides: &[isize], mut index: usize) -> isize {
    let mut at = 0;
    for (&size, &stride) in shape.iter().zip(strides).rev() {
        at += (index % size) as isize * stride;
        index /= size;
    }
    at
}

/// One operand of a stack of products.
struct Stack<'a, T> {
    ptr: *mut T,
    layout: &'a Layout,
}

/// y ← a · b for every matrix of the stack; y is contiguous.
///
/// # Safety
/// The operands must exist, and y be the op's own output.
unsafe fn stacked<T: Float>(team: &Team, a: &Stack<'_, T>, b: &Stack<'_, T>, y: &Stack<'_, T>) {
    let (stack, m, n) = split(&y.layout.shape);
    let count: usize = stack.iter().product();
    let whole = |s: &Stack<'_, T>| {
        let (_, rows, cols) = split(&s.layout.shape);
        let shape: Dims = stack.iter().copied().chain([rows, cols]).collect();
        s.layout.expand(&shape)
    };
    if b.layout.ndim() == 2 && count != 1 {
        // One matrix on the right: a stack on the left whose rows follow each other is one tall matrix.
        let (_, _, k) = split(&a.layout.shape);
        if let Some(tall) = whole(a).reshape(&[count * m, k]) {
            let y = Matrix::new(y.ptr, count * m, n);
            // SAFETY: by this function's contract.
            return unsafe { product(team, matrix(a.ptr, &tall), matrix(b.ptr, b.layout), y) };
        }
    }
    let (a_all, b_all) = (whole(a), whole(b));
    let one = |team: &Team, i: usize| {
        // SAFETY: offsets of matrices of the stack; the rest is this function's contract.
        unsafe {
            let a = matrix(a.ptr, &a_all).at(offset(stack, &a_all.strides, i));
            let b = matrix(b.ptr, &b_all).at(offset(stack, &b_all.strides, i));
            product(team, a, b, Matrix::new(y.ptr, m, n).at((i * m * n) as isize));
        }
    };
    // Many matrices are shared whole, few are shared each.
    if count >= 2 * team.size() {
        team.share(count).for_each(|i| one(&Team::SOLO, i));
    } else {
        (0..count).for_each(|i| one(team, i));
    }
}

fn contiguous(shape: &[usize]) -> Layout {
    Layout::contiguous(shape)
}

fn product_work(a: &Meta, y: &Meta) -> usize {
    work(y.numel(), 1, *a.shape.last().unwrap_or(&1))
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype("matmul", inputs)?;
        let (a, b) = (&inputs[0].shape, &inputs[1].shape);
        let misfit =
            |expected: &str| Err(Error::value(format!("matmul: expected {expected}; got {} and {}", show(a), show(b))));
        if a.is_empty() || b.is_empty() {
            return misfit("tensors of at least 1 dimension");
        }
        let (a2, b2) = (left(&contiguous(a)).shape, right(&contiguous(b)).shape);
        let ((a_stack, m, k), (b_stack, k2, n)) = (split(&a2), split(&b2));
        if k != k2 {
            return misfit("shapes (*, k) and (*, k, n)");
        }
        let Ok(mut shape) = broadcast("matmul", a_stack, b_stack) else {
            return misfit("leading dimensions that broadcast together");
        };
        shape.extend((a.len() > 1).then_some(m).into_iter().chain((b.len() > 1).then_some(n)));
        Ok(smallvec![Meta { shape, dtype }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let (a, b) = (left(inputs[0].layout()), right(inputs[1].layout()));
        let y = result(&contiguous(outputs[0].shape()), inputs[0].shape().len() == 1, inputs[1].shape().len() == 1);
        with_float!(outputs[0].dtype(), T => {
            let stack = |view: &View<'_>, layout| Stack { ptr: view.ptr::<T>(), layout };
            // SAFETY: layouts of the inputs, which exist, and of the output.
            unsafe { stacked(run.team, &stack(&inputs[0], &a), &stack(&inputs[1], &b), &stack(&outputs[0], &y)) };
        });
    }

    fn saves(&self) -> Saves {
        Saves::inputs(0b11)
    }

    fn saves_for(&self, wants: &[bool]) -> Saves {
        Saves::of_factors(wants)
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        let (a, b) = (&cx.input_meta[0].shape, &cx.input_meta[1].shape);
        let mut grads: Grads = smallvec![None, None];
        if cx.needs(0) {
            let grad = apply(MatmulGradLeft { vector: a.len() == 1 }, &[cx.grad(), cx.input(1)])?;
            grads[0] = Some(sum_to(&grad, a)?);
        }
        if cx.needs(1) {
            let grad = apply(MatmulGradRight { ndim: b.len() }, &[cx.input(0), cx.grad()])?;
            grads[1] = Some(sum_to(&grad, b)?);
        }
        Ok(grads)
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        product_work(&inputs[0], &outputs[0])
    }
}

impl Op for MatmulGradLeft {
    fn name(&self) -> &'static str {
        "matmul_grad_left"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let b_is_vector = inputs[1].shape.len() == 1;
        let g = result(&contiguous(&inputs[0].shape), self.vector, b_is_vector).shape;
        let b = right(&contiguous(&inputs[1].shape)).shape;
        let ((stack, m, _), (_, k, _)) = (split(&g), split(&b));
        let mut shape = Dims::from_slice(stack);
        shape.extend((!self.vector).then_some(m).into_iter().chain([k]));
        Ok(smallvec![Meta { shape, dtype }])
    }

    fn strided(&self) -> bool {
        true
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let g = result(inputs[0].layout(), self.vector, inputs[1].shape().len() == 1);
        let b = transpose(right(inputs[1].layout()));
        let y = result(&contiguous(outputs[0].shape()), self.vector, false);
        with_float!(outputs[0].dtype(), T => {
            let stack = |view: &View<'_>, layout| Stack { ptr: view.ptr::<T>(), layout };
            // SAFETY: layouts of the inputs, which exist, and of the output.
            unsafe { stacked(run.team, &stack(&inputs[0], &g), &stack(&inputs[1], &b), &stack(&outputs[0], &y)) };
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::matmul_left(self.vector, t))
    }

    fn work(&self, inputs: &[Meta], outputs: &[Meta]) -> usize {
        product_work(&inputs[0], &outputs[0])
    }
}

impl MatmulGradRight {
    /// Rows and columns of a and of g, read as one tall matrix each.
    fn tall(self, a: &[usize], g: &[usize]) -> [usize; 3] {
        let k = a[a.len() - 1];
        let rows = a[..a.len() - 1].iter().product();
        let n = if self.ndim == 1 { 1 } else { g[g.len() - 1] };
        [rows, k, n]
    }
}

impl Op for MatmulGradRight {
    fn name(&self) -> &'static str {
        "matmul_grad_right"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Outputs> {
        let dtype = float_dtype(self.name(), inputs)?;
        let (a, g) = (&inputs[0].shape, &inputs[1].shape);
        if self.ndim <= 2 {
            let [_, k, n] = self.tall(a, g);
            let shape = if self.ndim == 1 { smallvec![k] } else { smallvec![k, n] };
            return Ok(smallvec![Meta { shape, dtype }]);
        }
        let g = result(&contiguous(g), a.len() == 1, false).shape;
        let (stack, _, n) = split(&g);
        let mut shape = Dims::from_slice(stack);
        shape.extend([a[a.len() - 1], n]);
        Ok(smallvec![Meta { shape, dtype }])
    }

    /// One tall matrix has its rows in a row.
    fn strided(&self) -> bool {
        self.ndim > 2
    }

    fn run(&self, run: &Run<'_>, inputs: &[View<'_>], outputs: &[View<'_>]) {
        let y = &outputs[0];
        with_float!(y.dtype(), T => {
            let (a, g) = (inputs[0].ptr::<T>(), inputs[1].ptr::<T>());
            if self.ndim <= 2 {
                let [rows, k, n] = self.tall(inputs[0].shape(), inputs[1].shape());
                let (a, g) = (Matrix::new(a, rows, k), Matrix::new(g, rows, n));
                // SAFETY: contiguous operands of these sizes.
                unsafe { product(run.team, a.t(), g, Matrix::new(y.ptr(), k, n)) };
            } else {
                let g_layout = result(inputs[1].layout(), inputs[0].shape().len() == 1, false);
                let a_layout = transpose(left(inputs[0].layout()));
                let (a, g) = (Stack { ptr: a, layout: &a_layout }, Stack { ptr: g, layout: &g_layout });
                let y_layout = contiguous(y.shape());
                // SAFETY: layouts of the inputs, which exist, and of the output.
                unsafe { stacked(run.team, &a, &g, &Stack { ptr: y.ptr(), layout: &y_layout }) };
            }
        });
    }

    fn saves(&self) -> Saves {
        Saves::ALL
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Grads> {
        through(cx, |t| second::matmul_right(self.ndim, t))
    }

    fn work(&self, inputs: &[Meta], _outputs: &[Meta]) -> usize {
        let g = &inputs[1];
        work(g.numel(), 1, *inputs[0].shape.last().unwrap_or(&1))
    }
}

/// a · b, as `torch.matmul`: vectors, matrices, and stacks of matrices that broadcast together.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Matmul, &[a, b])
}

#[cfg(test)]
mod tests;
