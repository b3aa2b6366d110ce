//! Augmentation: a pipeline made of Python's settings, and run on NumPy arrays.

use fastnn_core::data::augment::{
    self, Affine, Interpolation, Kind, Mix, MixKind, Mixed, Padding, Pipeline, Range, Shape, Soft, Spec, Value,
};
use fastnn_core::element::Float;
use fastnn_core::kernels::image::Pixel;
use fastnn_core::ops::random;
use numpy::{
    Element, PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArray1, PyReadonlyArrayDyn, PyReadwriteArrayDyn,
    PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::arguments::{Given, explain, named};
use crate::error::{Raise, type_error, value_error};
use crate::gil;

/// Transforms of images, one after another, and what mixes them afterwards.
#[pyclass(name = "Augment", module = "fastnn._core", frozen)]
pub struct PyAugment {
    pub inner: Pipeline,
}

fn get<'py, T: for<'a> FromPyObject<'a, 'py, Error = PyErr>>(settings: &Bound<'py, PyDict>, name: &str) -> PyResult<T> {
    match settings.get_item(name)? {
        Some(value) => {
            value.extract().map_err(|error| explain(error, "Augment", name, "a setting of its type", &value))
        }
        None => Err(value_error(format!("Augment: expected a setting {name}; got none"))),
    }
}

fn interpolation(settings: &Bound<'_, PyDict>) -> PyResult<Interpolation> {
    let name: String = get(settings, "interpolation")?;
    Ok(if name == "bilinear" { Interpolation::Bilinear } else { Interpolation::Nearest })
}

fn padding(settings: &Bound<'_, PyDict>) -> PyResult<Padding> {
    let name: String = get(settings, "padding_mode")?;
    Ok(match name.as_str() {
        "edge" => Padding::Edge,
        "reflect" => Padding::Reflect,
        "symmetric" => Padding::Symmetric,
        _ => Padding::Constant,
    })
}

/// A list of numbers, or None for random ones.
fn value(settings: &Bound<'_, PyDict>) -> PyResult<Value> {
    Ok(get::<Option<Vec<f64>>>(settings, "value")?.map_or(Value::Random, Value::Fill))
}

fn kind(name: &str, settings: &Bound<'_, PyDict>) -> PyResult<Kind> {
    let s = settings;
    Ok(match name {
        "horizontal_flip" => Kind::HorizontalFlip,
        "vertical_flip" => Kind::VerticalFlip,
        "shift" => Kind::Shift { x: get(s, "x")?, y: get(s, "y")?, fill: get(s, "fill")? },
        "affine" => {
            let shear: (f64, f64, f64, f64) = get(s, "shear")?;
            Kind::Affine(Affine {
                degrees: get(s, "degrees")?,
                counterclockwise: get(s, "counterclockwise")?,
                translate: get(s, "translate")?,
                scale: get(s, "scale")?,
                shear: ((shear.0, shear.1), (shear.2, shear.3)),
                interpolation: interpolation(s)?,
                fill: get(s, "fill")?,
                center: get(s, "center")?,
            })
        }
        "crop" => Kind::Crop {
            size: get(s, "size")?,
            padding: get(s, "padding")?,
            pad_if_needed: get(s, "pad_if_needed")?,
            fill: get(s, "fill")?,
            mode: padding(s)?,
        },
        "resized_crop" => Kind::ResizedCrop {
            size: get(s, "size")?,
            scale: get(s, "scale")?,
            ratio: get(s, "ratio")?,
            interpolation: interpolation(s)?,
        },
        "color_jitter" => Kind::ColorJitter {
            brightness: get::<Option<Range>>(s, "brightness")?,
            contrast: get::<Option<Range>>(s, "contrast")?,
            saturation: get::<Option<Range>>(s, "saturation")?,
            hue: get::<Option<Range>>(s, "hue")?,
        },
        "pca_noise" => Kind::PcaNoise { std: get(s, "std")?, components: get(s, "components")? },
        "gaussian_noise" => {
            Kind::GaussianNoise { mean: get(s, "mean")?, sigma: get(s, "sigma")?, clip: get(s, "clip")? }
        }
        "binomial_noise" => Kind::BinomialNoise { rate: get(s, "rate")? },
        "salt_and_pepper" => Kind::SaltAndPepper { rate: get(s, "rate")?, salt: get(s, "salt")? },
        "elastic" => Kind::Elastic {
            alpha: get(s, "alpha")?,
            sigma: get(s, "sigma")?,
            interpolation: interpolation(s)?,
            fill: get(s, "fill")?,
        },
        "erasing" => Kind::Erasing { scale: get(s, "scale")?, ratio: get(s, "ratio")?, value: value(s)? },
        "cut_out" => Kind::CutOut { size: get(s, "size")?, value: value(s)? },
        "normalize" => Kind::Normalize { mean: get(s, "mean")?, std: get(s, "std")? },
        _ => return Err(value_error(format!("Augment: expected a known kind; got '{name}'"))),
    })
}

fn spec(settings: &Bound<'_, PyDict>) -> PyResult<Spec> {
    let (name, p): (String, f64) = (get(settings, "kind")?, get(settings, "p")?);
    let of = || get::<Vec<Bound<'_, PyDict>>>(settings, "of")?.iter().map(spec).collect::<PyResult<Vec<Spec>>>();
    Ok(match name.as_str() {
        "all" => Spec::All { p, of: of()? },
        "any" => Spec::Any { p, weights: get(settings, "weights")?, of: of()? },
        _ => Spec::One { name: get(settings, "name")?, p, kind: kind(&name, settings)? },
    })
}

fn mix(settings: &Bound<'_, PyDict>) -> PyResult<Mix> {
    let ways: Vec<(f64, bool, f64)> = get(settings, "ways")?;
    let kind = |cut| if cut { MixKind::Cut } else { MixKind::Up };
    Ok(Mix {
        p: get(settings, "p")?,
        weights: get(settings, "weights")?,
        ways: ways.into_iter().map(|(p, cut, alpha)| (p, kind(cut), alpha)).collect(),
        classes: get(settings, "num_classes")?,
    })
}

/// One image: channels, rows, columns.
type Dims = [usize; 3];

fn shape([c, h, w]: Dims) -> Shape {
    Shape { c, h, w }
}

fn images<S: Pixel + Element>(
    py: Python<'_>,
    pipeline: &Pipeline,
    n: usize,
    from: Shape,
    x: &Bound<'_, PyArrayDyn<S>>,
    out: &Bound<'_, PyUntypedArray>,
) -> PyResult<Option<Mixed>> {
    let x: PyReadonlyArrayDyn<'_, S> = x.try_readonly()?;
    let mut out: PyReadwriteArrayDyn<'_, S> = out.cast::<PyArrayDyn<S>>()?.try_readwrite()?;
    let (x, out) = (x.as_slice()?, out.as_slice_mut()?);
    let state = random::state();
    let mixed = gil::detached(py, || augment::images(pipeline, random::augment_draw(state), n, from, x, out))?;
    random::advance(pipeline.draws());
    Ok(mixed)
}

fn targets<T: Float + Element>(
    mixed: &Mixed,
    n: usize,
    y: &Bound<'_, PyUntypedArray>,
    weight: Option<&Bound<'_, PyUntypedArray>>,
    out: &Bound<'_, PyArrayDyn<T>>,
) -> PyResult<()> {
    let mut out = out.try_readwrite()?;
    let out = out.as_slice_mut()?;
    let weight: Option<Vec<f64>> = weight.map(numbers).transpose()?;
    let weight = |row: usize| weight.as_ref().map_or(1.0, |w| w[row]);
    if let Ok(labels) = y.cast::<PyArrayDyn<i64>>() {
        let labels = labels.try_readonly()?;
        return augment::targets(mixed, n, Soft::Labels(labels.as_slice()?), weight, out).raise();
    }
    let values = y.cast::<PyArrayDyn<T>>()?.try_readonly()?;
    augment::targets(mixed, n, Soft::Numbers(values.as_slice()?), weight, out).raise()
}

fn numbers(array: &Bound<'_, PyUntypedArray>) -> PyResult<Vec<f64>> {
    if let Ok(array) = array.cast::<PyArrayDyn<f32>>() {
        return Ok(array.try_readonly()?.as_slice()?.iter().map(|&w| f64::from(w)).collect());
    }
    Ok(array.cast::<PyArrayDyn<f64>>()?.try_readonly()?.as_slice()?.to_vec())
}

fn weights<T: Float + Element>(
    mixed: &Mixed,
    weight: &Bound<'_, PyArray1<T>>,
    out: &Bound<'_, PyUntypedArray>,
) -> PyResult<()> {
    let weight: PyReadonlyArray1<'_, T> = weight.try_readonly()?;
    let mut out = out.cast::<PyArray1<T>>()?.try_readwrite()?;
    augment::weights(mixed, weight.as_slice()?, out.as_slice_mut()?);
    Ok(())
}

/// λ, every image's partner, and the rectangle that comes from it: top, bottom, left, right.
type PyMixed = (f64, Vec<u32>, Option<(usize, usize, usize, usize)>);

#[pymethods]
impl PyAugment {
    #[new]
    #[pyo3(signature = (specs, mix, white=None, /))]
    fn new(specs: Vec<Bound<'_, PyDict>>, mix: Option<Bound<'_, PyDict>>, white: Option<Given<f64>>) -> PyResult<Self> {
        named!("Augment"; white);
        let specs = specs.iter().map(spec).collect::<PyResult<_>>()?;
        let mix = mix.as_ref().map(self::mix).transpose()?;
        Ok(Self { inner: Pipeline::new(specs, mix).with_white(white) })
    }

    /// True if it takes images, and not rows of any numbers.
    #[getter]
    fn needs_images(&self) -> bool {
        self.inner.needs_images()
    }

    /// Channels, rows and columns that such an image ends up with.
    #[pyo3(signature = (image, /))]
    fn shape(&self, image: Given<Dims>) -> PyResult<(usize, usize, usize)> {
        named!("Augment"; image);
        let Shape { c, h, w } = self.inner.shape(shape(image)).raise()?;
        Ok((c, h, w))
    }

    /// Change n images, with a draw from the generator; where they are mixed, also targets and weights. Arrays are C-contiguous.
    #[pyo3(signature = (n, image, x, out, y, y_out, weight, weight_out, /))]
    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        py: Python<'_>,
        n: Given<usize>,
        image: Given<Dims>,
        x: &Bound<'_, PyUntypedArray>,
        out: &Bound<'_, PyUntypedArray>,
        y: Option<Bound<'_, PyUntypedArray>>,
        y_out: Option<Bound<'_, PyUntypedArray>>,
        weight: Option<Bound<'_, PyUntypedArray>>,
        weight_out: Option<Bound<'_, PyUntypedArray>>,
    ) -> PyResult<()> {
        named!("Augment"; n, image);
        let from = shape(image);
        let mixed = if let Ok(x) = x.cast::<PyArrayDyn<f32>>() {
            images(py, &self.inner, n, from, x, out)?
        } else if let Ok(x) = x.cast::<PyArrayDyn<f64>>() {
            images(py, &self.inner, n, from, x, out)?
        } else if let Ok(x) = x.cast::<PyArrayDyn<u8>>() {
            images(py, &self.inner, n, from, x, out)?
        } else {
            return Err(type_error(format!("Augment: expected float32, float64 or uint8; got {}", x.dtype())));
        };
        let Some(mixed) = mixed else { return Ok(()) };
        if let (Some(y), Some(out)) = (y, y_out) {
            match out.cast::<PyArrayDyn<f32>>() {
                Ok(out) => targets(&mixed, n, &y, weight.as_ref(), out)?,
                Err(_) => targets(&mixed, n, &y, weight.as_ref(), out.cast::<PyArrayDyn<f64>>()?)?,
            }
        }
        if let (Some(weight), Some(out)) = (weight, weight_out) {
            match weight.cast::<PyArray1<f32>>() {
                Ok(weight) => weights(&mixed, weight, &out)?,
                Err(_) => weights(&mixed, weight.cast::<PyArray1<f64>>()?, &out)?,
            }
        }
        Ok(())
    }

    /// Draws of the next call of `run`: for every image, the transforms that are applied to it, by name and number in
    /// the pipeline, with their numbers.
    #[pyo3(signature = (n, image, /))]
    fn drawn<'py>(&self, py: Python<'py>, n: Given<usize>, image: Given<Dims>) -> PyResult<Bound<'py, PyList>> {
        named!("Augment"; n, image);
        let draw = random::augment_draw(random::state());
        self.inner.shape(shape(image)).raise()?;
        let all = PyList::empty(py);
        for i in 0..n {
            let one = PyList::empty(py);
            for drawn in self.inner.drawn(draw, i, shape(image)) {
                let values = PyDict::new(py);
                for (name, value) in drawn.names.iter().zip(&drawn.values) {
                    values.set_item(name, value)?;
                }
                one.append((drawn.name, drawn.number, values))?;
            }
            all.append(one)?;
        }
        Ok(all)
    }

    /// Mixing of n images in the next call of `run`.
    #[pyo3(signature = (n, image, /))]
    fn mixed(&self, n: Given<usize>, image: Given<Dims>) -> PyResult<Option<PyMixed>> {
        named!("Augment"; n, image);
        let draw = random::augment_draw(random::state());
        let to = self.inner.shape(shape(image)).raise()?;
        let mixed = self.inner.mixed(draw, n, to);
        Ok(mixed.map(|Mixed { lambda, partner, rectangle }| {
            let rectangle = rectangle.map(|(rows, columns)| (rows.start, rows.end, columns.start, columns.end));
            (lambda, partner, rectangle)
        }))
    }
}
