//! Kinds of transforms of an image, and the numbers that each draws.

use smallvec::{SmallVec, smallvec};

use super::Shape;
use super::words::Words;
use crate::error::{Error, Result};

/// Interpolation between pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// Linear in both directions.
    Bilinear,
}

/// Values around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// A value.
    Constant,
    /// The outermost pixels.
    Edge,
    /// The image, reflected at the middle of the outermost pixels.
    Reflect,
    /// The image, reflected at its edge.
    Symmetric,
}

/// A value for all channels, or one for each.
pub type Fill = Vec<f64>;

/// Values that replace an erased rectangle.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A value for all channels, or one for each.
    Fill(Fill),
    /// Standard normal numbers.
    Random,
}

/// From least to greatest.
pub type Range = (f64, f64);

/// A transform of an image.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the settings of the classes of the same names, which say what each is")]
pub enum Kind {
    HorizontalFlip,
    VerticalFlip,
    /// By whole pixels, at most these many.
    Shift {
        x: usize,
        y: usize,
        fill: Fill,
    },
    Affine(Affine),
    Crop {
        size: (usize, usize),
        padding: [usize; 4],
        pad_if_needed: bool,
        fill: Fill,
        mode: Padding,
    },
    ResizedCrop {
        size: (usize, usize),
        scale: Range,
        ratio: Range,
        interpolation: Interpolation,
    },
    ColorJitter {
        brightness: Option<Range>,
        contrast: Option<Range>,
        saturation: Option<Range>,
        hue: Option<Range>,
    },
    /// `components[j]` is the principal component j, times its variance.
    PcaNoise {
        std: f64,
        components: Vec<Vec<f64>>,
    },
    GaussianNoise {
        mean: f64,
        sigma: f64,
        clip: bool,
    },
    BinomialNoise {
        rate: f64,
    },
    SaltAndPepper {
        rate: f64,
        salt: f64,
    },
    Elastic {
        alpha: (f64, f64),
        sigma: (f64, f64),
        interpolation: Interpolation,
        fill: Fill,
    },
    Erasing {
        scale: Range,
        ratio: Range,
        value: Value,
    },
    CutOut {
        size: (usize, usize),
        value: Value,
    },
    Normalize {
        mean: Fill,
        std: Fill,
    },
}

/// A random affine map.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// In degrees, clockwise.
    pub degrees: Range,
    /// True if the degrees go the other way round.
    pub counterclockwise: bool,
    /// The greatest shift, as a share of width and height.
    pub translate: (f64, f64),
    /// By how much the image grows.
    pub scale: Range,
    /// Along x and along y, in degrees.
    pub shear: (Range, Range),
    /// Interpolation between pixels.
    pub interpolation: Interpolation,
    /// The value of what lies outside.
    pub fill: Fill,
    /// The fixed point, from the upper left corner; the middle, if there is none.
    pub center: Option<(f64, f64)>,
}

/// Numbers that were drawn for an image; integers too.
pub type Values = SmallVec<[f64; 8]>;

/// Attempts to find a rectangle that fits.
const ATTEMPTS: usize = 10;

impl Kind {
    /// Names of the drawn numbers, in their order.
    #[must_use]
    pub fn names(&self) -> &'static [&'static str] {
        match self {
            Self::Shift { .. } => &["dx", "dy"],
            Self::Affine(_) => &["angle", "dx", "dy", "scale", "shear_x", "shear_y"],
            Self::Crop { .. } => &["top", "left"],
            Self::ResizedCrop { .. } | Self::Erasing { .. } => &["top", "left", "height", "width"],
            Self::ColorJitter { .. } => {
                &["first", "second", "third", "fourth", "brightness", "contrast", "saturation", "hue"]
            }
            Self::PcaNoise { .. } => &["first", "second", "third"],
            Self::CutOut { .. } => &["y", "x"],
            _ => &[],
        }
    }

    /// True if it takes an image, and not rows of any numbers.
    #[must_use]
    pub fn needs_image(&self) -> bool {
        !matches!(self, Self::GaussianNoise { .. } | Self::BinomialNoise { .. })
    }

    /// True if it draws nothing at all.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Normalize { .. } | Self::HorizontalFlip | Self::VerticalFlip)
    }

    /// The shape of what it makes of an image.
    pub(super) fn shape(&self, name: &str, from: Shape) -> Result<Shape> {
        let Shape { c, h, w } = from;
        match self {
            Self::Shift { fill, .. } | Self::Affine(Affine { fill, .. }) | Self::Elastic { fill, .. } => {
                channels(name, "fill", fill.len(), c)?;
            }
            Self::Erasing { value: Value::Fill(value), .. } | Self::CutOut { value: Value::Fill(value), .. } => {
                channels(name, "value", value.len(), c)?;
            }
            Self::Normalize { mean, std } => {
                channels(name, "mean", mean.len(), c)?;
                channels(name, "std", std.len(), c)?;
            }
            Self::PcaNoise { components, .. } if components.len() != c => {
                return Err(Error::value(format!("{name}: expected images of {} channels; got {c}", components.len())));
            }
            Self::ColorJitter { .. } if c != 1 && c != 3 => {
                return Err(Error::value(format!("{name}: expected images of 1 or 3 channels; got {c}")));
            }
            Self::Crop { size, fill, mode, .. } => {
                channels(name, "fill", fill.len(), c)?;
                let (top, left, rows, columns) = self.padded(from);
                if rows < size.0 || columns < size.1 {
                    return Err(Error::value(format!(
                        "{name}: expected images of at least {size:?} with their padding; got {:?}",
                        (rows, columns)
                    )));
                }
                if *mode != Padding::Constant && (h == 0 || w == 0) && (top > 0 || left > 0) {
                    return Err(Error::value(format!("{name}: expected images with pixels; got {:?}", (h, w))));
                }
                return Ok(Shape { c, h: size.0, w: size.1 });
            }
            Self::ResizedCrop { size, .. } => {
                if h == 0 || w == 0 {
                    return Err(Error::value(format!("{name}: expected images with pixels; got {:?}", (h, w))));
                }
                return Ok(Shape { c, h: size.0, w: size.1 });
            }
            _ => {}
        }
        Ok(from)
    }

    /// Padding above and on the left of an image that is to be cropped, and its rows and columns with all padding.
    pub(super) fn padded(&self, from: Shape) -> (usize, usize, usize, usize) {
        let Self::Crop { size, padding: [left, top, right, bottom], pad_if_needed, .. } = self else {
            return (0, 0, from.h, from.w);
        };
        let (mut top, mut left) = (*top, *left);
        let (mut rows, mut columns) = (from.h + top + bottom, from.w + left + right);
        if *pad_if_needed {
            // On both sides, as torchvision does.
            let (missing_rows, missing_columns) = (size.0.saturating_sub(rows), size.1.saturating_sub(columns));
            (top, left) = (top + missing_rows, left + missing_columns);
            (rows, columns) = (rows + 2 * missing_rows, columns + 2 * missing_columns);
        }
        (top, left, rows, columns)
    }

    /// Draw the numbers for an image.
    pub(super) fn draw(&self, words: &mut Words, shape: Shape) -> Values {
        let Shape { h, w, .. } = shape;
        let mut offset = |most: usize| words.below(2 * most + 1) as f64 - most as f64;
        match self {
            Self::Shift { x, y, .. } => smallvec![offset(*x), offset(*y)],
            Self::Affine(Affine { degrees, translate, scale, shear, .. }) => {
                let angle = words.between(*degrees);
                let (most_x, most_y) = (translate.0 * w as f64, translate.1 * h as f64);
                let dx = words.between((-most_x, most_x)).round_ties_even();
                let dy = words.between((-most_y, most_y)).round_ties_even();
                smallvec![angle, dx, dy, words.between(*scale), words.between(shear.0), words.between(shear.1)]
            }
            Self::Crop { size, .. } => {
                let (_, _, rows, columns) = self.padded(shape);
                smallvec![words.below(rows - size.0 + 1) as f64, words.below(columns - size.1 + 1) as f64]
            }
            Self::ResizedCrop { scale, ratio, .. } => {
                rectangle(words, shape, *scale, *ratio, false).unwrap_or_else(|| whole(shape, *ratio))
            }
            Self::ColorJitter { brightness, contrast, saturation, hue } => {
                let mut order = [0.0, 1.0, 2.0, 3.0];
                for i in (1..4).rev() {
                    order.swap(i, words.below(i + 1));
                }
                let mut factor = |range: &Option<Range>, none| range.map_or(none, |range| words.between(range));
                let mut values = Values::from_slice(&order);
                values.extend([
                    factor(brightness, 1.0),
                    factor(contrast, 1.0),
                    factor(saturation, 1.0),
                    factor(hue, 0.0),
                ]);
                values
            }
            Self::PcaNoise { std, components } => {
                let mut values = Values::new();
                while values.len() < components.len() {
                    let left = components.len() - values.len();
                    values.extend(words.normals().into_iter().take(left).map(|z| z * std));
                }
                values
            }
            Self::Erasing { scale, ratio, .. } => {
                rectangle(words, shape, *scale, *ratio, true).unwrap_or_else(|| smallvec![0.0; 4])
            }
            Self::CutOut { .. } => smallvec![words.below(h) as f64, words.below(w) as f64],
            _ => Values::new(),
        }
    }
}

fn channels(name: &str, what: &str, given: usize, c: usize) -> Result<()> {
    if given == 1 || given == c {
        return Ok(());
    }
    Err(Error::value(format!("{name}: expected {what} of 1 or {c} values for images of {c} channels; got {given}")))
}

/// Top, left, height and width of a rectangle with this share of the area and this ratio, if one of ten attempts fits:
/// width over height, or height over width and smaller than the image if it is to be erased.
fn rectangle(words: &mut Words, shape: Shape, scale: Range, ratio: Range, erased: bool) -> Option<Values> {
    let Shape { h, w, .. } = shape;
    for _ in 0..ATTEMPTS {
        let area = words.between(scale) * (h * w) as f64;
        let ratio = words.ratio(ratio);
        let (long, short) = ((area * ratio).sqrt().round_ties_even(), (area / ratio).sqrt().round_ties_even());
        let (rows, columns) = if erased { (long, short) } else { (short, long) };
        let fits = if erased {
            rows < h as f64 && columns < w as f64
        } else {
            rows > 0.0 && columns > 0.0 && rows <= h as f64 && columns <= w as f64
        };
        if fits {
            let (top, left) = (words.below(h - rows as usize + 1), words.below(w - columns as usize + 1));
            return Some(smallvec![top as f64, left as f64, rows, columns]);
        }
    }
    None
}

/// The middle of the image, as much of it as has a ratio of the range.
fn whole(shape: Shape, ratio: Range) -> Values {
    let (h, w) = (shape.h as f64, shape.w as f64);
    let (rows, columns) = if w / h < ratio.0 {
        ((w / ratio.0).round_ties_even().max(1.0), w)
    } else if w / h > ratio.1 {
        (h, (h * ratio.1).round_ties_even().max(1.0))
    } else {
        (h, w)
    };
    smallvec![((h - rows) / 2.0).floor(), ((w - columns) / 2.0).floor(), rows, columns]
}
