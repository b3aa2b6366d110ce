//! Text of a tensor: PyTorch's format, four digits, the middle of large ones left out.

use std::fmt::Write;

use fastnn_core::{DType, Tensor};

/// Elements above which only the edges are shown.
const THRESHOLD: usize = 1000;
/// Number of elements at each edge.
const EDGE: usize = 3;
/// Characters a line has.
const WIDTH: usize = 80;

/// PyTorch's name of the op that made a tensor: `add` → `AddBackward`.
pub fn grad_fn(op: &str) -> String {
    let camel: String = op
        .split('_')
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        })
        .collect();
    format!("{camel}Backward")
}

enum Format {
    Whole,
    /// Floats that are all whole numbers: `3.`
    WholeFloat,
    Fixed,
    Scientific,
    Bool,
}

fn format_of(dtype: DType, shown: &[f64]) -> Format {
    match dtype {
        DType::Bool => return Format::Bool,
        DType::I64 => return Format::Whole,
        DType::F32 | DType::F64 => {}
    }
    let sizes = || shown.iter().map(|x| x.abs()).filter(|x| x.is_finite() && *x != 0.0);
    let (min, max) = sizes().fold((f64::INFINITY, 0.0f64), |(lo, hi), x| (lo.min(x), hi.max(x)));
    if max == 0.0 {
        return Format::WholeFloat;
    }
    if sizes().all(|x| x.fract() == 0.0) {
        if max / min > 1000.0 && max > 1e8 { Format::Scientific } else { Format::WholeFloat }
    } else if max / min > 1000.0 || max > 1e8 || min < 1e-4 {
        Format::Scientific
    } else {
        Format::Fixed
    }
}

/// A float or a mask; whole numbers may be larger than floats are exact.
fn number(value: f64, format: &Format) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    match format {
        Format::Bool => if value == 0.0 { "False" } else { "True" }.into(),
        Format::Whole => format!("{value:.0}"),
        Format::WholeFloat => format!("{value:.0}."),
        Format::Fixed => format!("{value:.4}"),
        Format::Scientific => {
            let text = format!("{value:.4e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, size) = exponent.strip_prefix('-').map_or(("+", exponent), |size| ("-", size));
            format!("{digits}e{sign}{size:0>2}")
        }
    }
}

/// Indices of a dimension that are shown; None stands for the dots.
fn shown(n: usize, summarize: bool) -> Vec<Option<usize>> {
    if summarize && n > 2 * EDGE {
        (0..EDGE).map(Some).chain([None]).chain((n - EDGE..n).map(Some)).collect()
    } else {
        (0..n).map(Some).collect()
    }
}

struct Printer<'a> {
    tensor: &'a Tensor,
    text: &'a dyn Fn(isize) -> String,
    width: usize,
    summarize: bool,
}

impl Printer<'_> {
    fn rows(&self, out: &mut String, dim: usize, offset: isize, indent: usize) {
        let layout = self.tensor.layout();
        if dim == layout.ndim() {
            let _ = write!(out, "{:>width$}", (self.text)(offset), width = self.width);
            return;
        }
        let last = dim + 1 == layout.ndim();
        let per_line = ((WIDTH - indent.min(WIDTH - 1)) / (self.width + 2)).max(1);
        out.push('[');
        for (i, index) in shown(layout.shape[dim], self.summarize).into_iter().enumerate() {
            if i > 0 {
                out.push(',');
                if last && i % per_line != 0 {
                    out.push(' ');
                } else {
                    out.push_str(&"\n".repeat(if last { 1 } else { layout.ndim() - dim - 1 }));
                    out.push_str(&" ".repeat(indent + 1));
                }
            }
            match index {
                Some(j) => self.rows(out, dim + 1, offset + j as isize * layout.strides[dim], indent + 1),
                None => out.push_str("..."),
            }
        }
        out.push(']');
    }
}

fn offsets(tensor: &Tensor, summarize: bool, dim: usize, offset: isize, out: &mut Vec<isize>) {
    let layout = tensor.layout();
    if dim == layout.ndim() {
        out.push(offset);
        return;
    }
    for j in shown(layout.shape[dim], summarize).into_iter().flatten() {
        offsets(tensor, summarize, dim + 1, offset + j as isize * layout.strides[dim], out);
    }
}

/// `tensor([1., 2.], grad_fn=<AddBackward>)`
pub fn tensor(tensor: &Tensor) -> String {
    let summarize = tensor.numel() > THRESHOLD;
    let view = tensor.view();
    let values = |offset: isize| {
        fastnn_core::with_element!(tensor.dtype(), T => {
            // SAFETY: only offsets of the tensor's layout are asked for.
            #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
            unsafe { *view.ptr::<T>().offset(offset) as f64 }
        })
    };
    let mut places = Vec::new();
    if tensor.numel() > 0 {
        offsets(tensor, summarize, 0, 0, &mut places);
    }
    let all: Vec<f64> = places.iter().map(|&at| values(at)).collect();
    let format = format_of(tensor.dtype(), &all);
    // As in PyTorch, NaN and infinity do not make the columns wider.
    let counts = |x: &&f64| x.is_finite() && **x != 0.0;
    let text = |offset: isize| match format {
        // SAFETY: as above.
        Format::Whole => unsafe { *view.ptr::<i64>().offset(offset) }.to_string(),
        _ => number(values(offset), &format),
    };
    let shown = places.iter().zip(&all).filter(|(_, x)| counts(x)).map(|(&at, _)| text(at).len());
    let width = shown.max().unwrap_or(0);
    let mut out = String::from("tensor(");
    if tensor.numel() == 0 {
        out.push_str("[]");
        if tensor.ndim() != 1 {
            let _ = write!(out, ", size={}", fastnn_core::tensor::layout::show(tensor.shape()));
        }
    } else {
        let width = if tensor.ndim() == 0 { 0 } else { width };
        Printer { tensor, text: &text, width, summarize }.rows(&mut out, 0, 0, "tensor(".len());
    }
    // The dtypes that the values show by themselves are not named.
    let named = match tensor.dtype() {
        DType::F64 => true,
        DType::F32 => false,
        DType::I64 | DType::Bool => tensor.numel() == 0,
    };
    if named {
        let _ = write!(out, ", dtype=fastnn.{}", tensor.dtype());
    }
    if let Some((node, _)) = tensor.node() {
        let _ = write!(out, ", grad_fn=<{}>", grad_fn(node.name()));
    } else if tensor.requires_grad() {
        out.push_str(", requires_grad=True");
    }
    out.push(')');
    out
}
