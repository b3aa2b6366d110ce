//! Geometry of the windows of a pooling layer, and the errors of settings that have none.
//!
//! Images are `(n, c, h, w)` or `(c, h, w)`, series `(n, c, l)` or `(c, l)`; a series is an image of height 1.

use crate::error::{Error, Result};
use crate::tensor::Meta;
use crate::tensor::layout::{Dims, show};
use crate::tensor::room;

use super::{float_dtype, shape_error};

/// The settings of a pooling layer, as (rows, columns); rows are 1, and not padded, for a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Name in errors.
    pub name: &'static str,
    /// Dimensions that are pooled: 1 or 2.
    pub dims: usize,
    /// Elements of a window.
    pub kernel: [usize; 2],
    /// Distance between windows.
    pub stride: [usize; 2],
    /// Elements by which the first window begins before the image.
    pub padding: [usize; 2],
    /// Distance between a window's elements.
    pub dilation: [usize; 2],
    /// True if a last window may reach past the padded image.
    pub ceil_mode: bool,
}

/// Height and width of `shape`, of which `dims` dimensions are spatial.
pub(super) fn plane(shape: &[usize], dims: usize) -> [usize; 2] {
    let last = shape.len() - 1;
    [if dims == 2 { shape[last - 1] } else { 1 }, shape[last]]
}

/// `shape` with another height and width.
pub(super) fn with_plane(shape: &[usize], dims: usize, plane: [usize; 2]) -> Dims {
    let kept = &shape[..shape.len() - dims];
    kept.iter().chain(&plane[2 - dims..]).copied().collect()
}

/// That x is floats of `(n, c, *)` or `(c, *)`, and has elements, except for an empty batch.
pub(super) fn check_image(op: &str, x: &Meta, dims: usize) -> Result<()> {
    float_dtype(op, std::slice::from_ref(x))?;
    let expected = if dims == 2 { "(n, c, h, w) or (c, h, w)" } else { "(n, c, l) or (c, l)" };
    if x.shape.len() != dims + 1 && x.shape.len() != dims + 2 {
        return Err(shape_error(op, &format!("input of shape {expected}"), &x.shape));
    }
    if x.shape[x.shape.len() - dims - 1..].contains(&0) {
        return Err(shape_error(op, &format!("input of shape {expected}, where only n may be 0"), &x.shape));
    }
    if x.shape[x.shape.len() - dims..].iter().any(|&size| size > room::GREATEST) {
        let expected = format!("input whose last {dims} sizes are at most {}", room::GREATEST);
        return Err(shape_error(op, &expected, &x.shape));
    }
    Ok(())
}

/// That there is memory for a result of this size, before tables are made for it.
pub(super) fn check_room(op: &str, x: &Meta, dims: usize, output: [usize; 2]) -> Result<()> {
    room::check(op, &with_plane(&x.shape, dims, output), x.dtype)
}

impl Pooling {
    /// A setting as the user gave it.
    fn show(&self, setting: [usize; 2]) -> String {
        show(&setting[2 - self.dims..])
    }

    /// Number of windows of an image; an error if the settings or the image do not allow any.
    pub(super) fn output(&self, x: &Meta) -> Result<[usize; 2]> {
        let op = self.name;
        check_image(op, x, self.dims)?;
        let input = plane(&x.shape, self.dims);
        let mut output = [0; 2];
        let settings = [
            ("kernel_size", self.kernel, 1),
            ("stride", self.stride, 1),
            ("dilation", self.dilation, 1),
            ("padding", self.padding, 0),
        ];
        for (name, setting, least) in settings {
            room::settings(op, name, &setting, least, || self.show(setting))?;
        }
        for axis in 0..2 {
            let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
            let reach = (kernel - 1) * self.dilation[axis] + 1;
            if padding > reach / 2 {
                let (got, kernel) = (self.show(self.padding), self.show(self.kernel));
                let dilated = if self.dilation == [1, 1] {
                    String::new()
                } else {
                    format!(" with dilation {}", self.show(self.dilation))
                };
                return Err(Error::value(format!(
                    "{op}: expected padding of at most half of kernel_size {kernel}{dilated}; got {got}"
                )));
            }
            let padded = input[axis] + 2 * padding;
            // With `ceil_mode`, a window may reach out of the image by less than a stride.
            let steps = match padded.checked_sub(reach) {
                Some(room) if self.ceil_mode => room.div_ceil(stride),
                Some(room) => room / stride,
                None if self.ceil_mode && reach - padded < stride => 0,
                None => return Err(self.too_large(x)),
            };
            // The last window begins inside the image or before it.
            let last =
                if self.ceil_mode && steps > 0 && steps * stride >= input[axis] + padding { steps - 1 } else { steps };
            output[axis] = last + 1;
        }
        check_room(op, x, self.dims, output)?;
        Ok(output)
    }

    fn too_large(&self, x: &Meta) -> Error {
        let reach = |axis: usize| (self.kernel[axis] - 1) * self.dilation[axis] + 1;
        let (window, padding) = (self.show([reach(0), reach(1)]), self.show(self.padding));
        let op = self.name;
        let expected = format!("input of at least {window} with padding {padding} in its last {}", self.last_dims());
        shape_error(op, &expected, &x.shape)
    }

    fn last_dims(&self) -> &'static str {
        if self.dims == 2 { "2 dimensions" } else { "dimension" }
    }
}

/// Range of window `i` of `out` adaptive ones: they cover all of `n` elements, and are as even as they can be.
pub(super) const fn adaptive(i: usize, n: usize, out: usize) -> (usize, usize) {
    (i * n / out, ((i + 1) * n).div_ceil(out))
}

/// That a layer is asked for something that there is memory for.
pub(super) fn check_output(op: &str, x: &Meta, output: [usize; 2], dims: usize) -> Result<()> {
    room::settings(op, "output_size", &output, 1, || show(&output[2 - dims..]))?;
    check_room(op, x, dims, output)
}
