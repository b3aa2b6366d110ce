//! Actions: the numbers drawn for one image, as work for the kernels.

use smallvec::SmallVec;

use super::kind::{Affine, Interpolation, Kind, Padding};
use super::{Shape, Values};
use crate::element::Float;
use crate::kernels::image::warp::{Bounds, reflected};
use crate::rng::Draw;

/// x' ← m₀x + m₁y + m₂, y' ← m₃x + m₄y + m₅: where a pixel's value comes from.
pub(super) type Map = [f64; 6];

/// An image read at other places.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Warp<'a> {
    pub map: Map,
    pub to: Shape,
    pub interpolation: Interpolation,
    /// The value outside; none where nothing outside is ever read.
    pub fill: Option<&'a [f64]>,
    /// Bounds that positions are held in; by default just outside the image.
    pub bounds: Option<Bounds>,
}

/// One thing to do to an image.
#[derive(Clone, Debug)]
pub(super) enum Action<'a> {
    Warp(Warp<'a>),
    /// Row y comes from row `rows[y]`, and so with columns.
    Pick {
        rows: Vec<u32>,
        columns: Vec<u32>,
    },
    /// The rest: what it is, and the numbers drawn for it. `noise` has the numbers of pixels.
    Other {
        kind: &'a Kind,
        values: Values,
        noise: Draw,
    },
}

impl Action<'_> {
    /// True if it takes pixels from one place to another, and not each where it is.
    pub(super) fn moves(&self) -> bool {
        !matches!(self, Self::Other { kind, .. } if !matches!(kind, Kind::Elastic { .. }))
    }

    /// The shape that it makes of an image.
    pub(super) fn shape(&self, from: Shape) -> Shape {
        match self {
            Self::Warp(warp) => warp.to,
            Self::Pick { rows, columns } => Shape { h: rows.len(), w: columns.len(), ..from },
            Self::Other { .. } => from,
        }
    }
}

/// The actions on one image, in order.
pub(super) type Actions<'a> = SmallVec<[Action<'a>; 6]>;

impl Warp<'_> {
    /// True if only whole pixels move, perhaps reversed: the signs of x and y, and by how much.
    pub(super) fn whole(&self) -> Option<((bool, bool), (i64, i64))> {
        let m = &self.map;
        let straight = m[1] == 0.0 && m[3] == 0.0 && Float::abs(m[0]) == 1.0 && Float::abs(m[4]) == 1.0;
        let small = Float::abs(m[2]) < 1e9 && Float::abs(m[5]) < 1e9;
        let whole = straight && small && m[2].round_ties_even() == m[2] && m[5].round_ties_even() == m[5];
        (whole && self.bounds.is_none()).then(|| ((m[0] < 0.0, m[4] < 0.0), (m[2] as i64, m[5] as i64)))
    }

    /// Let `next` follow in the same reading, if that can be.
    fn take(&mut self, next: &Self) -> bool {
        let keeps_to_image = next.fill.is_none() && next.bounds.is_none();
        let fits = keeps_to_image
            || self.bounds.is_none()
                && next.bounds.is_none()
                && (self.fill.is_none() || self.fill == next.fill)
                && (self.interpolation == next.interpolation || self.whole().is_some() || next.whole().is_some());
        if fits {
            if self.whole().is_some() && next.whole().is_none() {
                self.interpolation = next.interpolation;
            }
            self.map = after(&self.map, &next.map);
            (self.to, self.fill) = (next.to, self.fill);
        }
        fits
    }
}

/// Compose two maps: `second` reads a position that `first` maps further.
fn after(first: &Map, second: &Map) -> Map {
    let [a, b, c, d, e, f] = *first;
    let [p, q, r, s, t, u] = *second;
    [a * p + b * s, a * q + b * t, a * r + b * u + c, d * p + e * s, d * q + e * t, d * r + e * u + f]
}

/// Add what `kind` does to an image of shape `from`.
pub(super) fn push<'a>(actions: &mut Actions<'a>, kind: &'a Kind, values: Values, from: Shape, noise: Draw) {
    let (h, w) = (from.h as f64, from.w as f64);
    let plain = |map, fill| Warp { map, to: from, interpolation: Interpolation::Nearest, fill, bounds: None };
    let warp = match kind {
        Kind::HorizontalFlip => plain([-1.0, 0.0, w - 1.0, 0.0, 1.0, 0.0], None),
        Kind::VerticalFlip => plain([1.0, 0.0, 0.0, 0.0, -1.0, h - 1.0], None),
        Kind::Shift { fill, .. } => plain([1.0, 0.0, -values[0], 0.0, 1.0, -values[1]], Some(&fill[..])),
        Kind::Affine(affine) => Warp {
            interpolation: affine.interpolation,
            ..plain(inverse(affine, &values, from), Some(&affine.fill[..]))
        },
        Kind::Crop { size, fill, mode, .. } => {
            let (top, left, ..) = kind.padded(from);
            let (dy, dx) = (values[0] - top as f64, values[1] - left as f64);
            if *mode == Padding::Constant {
                let to = Shape { h: size.0, w: size.1, ..from };
                Warp { to, ..plain([1.0, 0.0, dx, 0.0, 1.0, dy], Some(&fill[..])) }
            } else {
                let rows = (0..size.0).map(|y| padded(y as i64 + dy as i64, from.h, *mode)).collect();
                let columns = (0..size.1).map(|x| padded(x as i64 + dx as i64, from.w, *mode)).collect();
                actions.push(Action::Pick { rows, columns });
                return;
            }
        }
        Kind::ResizedCrop { size, interpolation, .. } => {
            let [top, left, rows, columns] = values[..] else { unreachable!("a rectangle has four numbers") };
            let (y, x) = (rows / size.0 as f64, columns / size.1 as f64);
            // Edges meet edges: the center of the first pixel is half a pixel inside.
            let map = [x, 0.0, left + 0.5 * x - 0.5, 0.0, y, top + 0.5 * y - 0.5];
            let bounds = Bounds { x: (left, left + columns - 1.0), y: (top, top + rows - 1.0) };
            let to = Shape { h: size.0, w: size.1, ..from };
            Warp { map, to, interpolation: *interpolation, fill: None, bounds: Some(bounds) }
        }
        _ => {
            actions.push(Action::Other { kind, values, noise });
            return;
        }
    };
    if let Some(Action::Warp(last)) = actions.last_mut()
        && last.take(&warp)
    {
        if last.fill.is_none() {
            last.fill = warp.fill;
        }
        return;
    }
    actions.push(Action::Warp(warp));
}

/// The pixel of n that stands for position i.
fn padded(i: i64, n: usize, mode: Padding) -> u32 {
    let last = n as i64 - 1;
    let i = match mode {
        Padding::Constant | Padding::Edge => i.clamp(0, last.max(0)),
        Padding::Reflect => reflected(i, n) as i64,
        Padding::Symmetric => {
            let i = i.rem_euclid(2 * n as i64);
            i.min(2 * n as i64 - 1 - i)
        }
    };
    i as u32
}

/// The inverse of: shift by (dx, dy) · rotate · shear · grow, all about the center:
///
/// ```text
/// R = rotation by a, clockwise on the screen;  S = shear by s along x, then by t along y
/// R·S = (cos(a − t)/cos t, −cos(a − t)·tan s/cos t − sin a;  sin(a − t)/cos t, −sin(a − t)·tan s/cos t + cos a)
/// ```
fn inverse(affine: &Affine, values: &Values, shape: Shape) -> Map {
    let [angle, dx, dy, scale, shear_x, shear_y] = values[..] else { unreachable!("an affine map has six numbers") };
    let angle = if affine.counterclockwise { -angle } else { angle }.to_radians();
    let (s, t) = (shear_x.to_radians(), shear_y.to_radians());
    let (cos, sin) = (|x: f64| Float::cos(x), |x: f64| Float::sin(x));
    let (cos_a, sin_a) = (cos(angle), sin(angle));
    let [a, b, c, d] = if s == 0.0 && t == 0.0 {
        [cos_a, -sin_a, sin_a, cos_a]
    } else {
        let tan_s = sin(s) / cos(s);
        let (along, across) = (cos(angle - t) / cos(t), sin(angle - t) / cos(t));
        [along, -along * tan_s - sin_a, across, -across * tan_s + cos_a]
    };
    let (center_x, center_y) = affine.center.unwrap_or((shape.w as f64 / 2.0, shape.h as f64 / 2.0));
    // From edges to the middles of pixels.
    let (center_x, center_y) = (center_x - 0.5, center_y - 0.5);
    let [p, q, r, u] = [d / scale, -b / scale, -c / scale, a / scale];
    let (x, y) = (-center_x - dx, -center_y - dy);
    [p, q, p * x + q * y + center_x, r, u, r * x + u * y + center_y]
}
