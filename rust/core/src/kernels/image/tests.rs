use super::warp::{At, Bounds, Frame, bilinear, blur, blur_room, moved, nearest, reflected};
use super::{Pixel, Sampled, color, noise};
use crate::rng::{self, Draw};
use crate::simd::{self, Level};

const DRAW: Draw = Draw { seed: 3, stream: 1, call: 4 };
/// One pixel; a row; no multiple of 16 on either side of it; one; more of them than are read at once.
const SIZES: [(usize, usize); 6] = [(1, 1), (1, 7), (9, 15), (13, 19), (6, 32), (3, 150)];

fn image<T: Sampled>(n: usize) -> Vec<T> {
    let mut image = vec![T::ZERO; n];
    rng::uniform(DRAW, 0, &mut image);
    image
}

/// Results of every kernel for an image of three planes, one after another.
fn everything<T: Sampled>(h: usize, w: usize) -> Vec<T> {
    let (of, nan) = (T::from_f64, T::from_f64(f64::NAN));
    let (size, x, fill) = ((3, h, w), image(3 * h * w), [0.25, 0.5, 0.75]);
    let map = [0.8, 0.3, -0.4, -0.35, 0.9, 0.6];
    let field = image(2 * h * w);
    let (mut all, mut out, mut room) = (x.clone(), vec![nan; 3 * h * w], Vec::new());
    for at in [At::Affine(map), At::Moved(&field[..h * w], &field[h * w..])] {
        bilinear(Frame::new(&x, size, &fill, &mut room), at, Bounds::outside(h, w), h, w, &mut out);
        all.extend(&out);
        nearest(&x, size, &fill, at, Bounds::outside(h, w), h, w, &mut out, &mut room);
        all.extend(&out);
    }
    let kernel = [0.1, 0.2, 0.4, 0.2, 0.1].map(of);
    let mut plane = x[..h * w].to_vec();
    blur(&mut plane, (h, w), &kernel, &mut vec![T::ZERO; blur_room(h, w, kernel.len())]);
    all.extend(&plane);
    let mut y = x;
    color::brightness(&mut y, of(1.3), T::ONE);
    color::contrast(&mut y, 3, of(0.7), T::ONE);
    color::saturation(&mut y, of(1.6), T::ONE);
    color::hue(&mut y, of(0.2));
    all.extend(&y);
    noise::mask(&mut y, DRAW, 5, 1 << 30);
    noise::salt_and_pepper(&mut y, h * w, DRAW, 9, 1 << 29, 1 << 30, T::ONE);
    all.extend(&y);
    all
}

#[test]
fn all_levels_give_the_same_bits() {
    fn check<T: Sampled>() {
        let bits = |level, (h, w)| -> Vec<u64> {
            simd::set_level(level);
            everything::<T>(h, w).into_iter().map(|x| x.to_f64().to_bits()).collect()
        };
        for size in SIZES {
            let want = bits(Level::Portable, size);
            for level in [Level::Avx2, Level::Avx512] {
                assert_eq!(bits(level, size), want, "{size:?}, {level:?}");
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

/// Between four pixels, with the formula alone.
#[test]
fn bilinear_is_its_formula() {
    let (map, fill) = ([0.8, 0.3, -0.4, -0.35, 0.9, 0.6], [0.25, 0.75]);
    for (h, w) in SIZES {
        for (oh, ow) in [(h, w), (w + 3, h + 1)] {
            let x = image::<f64>(2 * h * w);
            let (mut out, mut room) = (vec![f64::NAN; 2 * oh * ow], Vec::new());
            let frame = Frame::new(&x, (2, h, w), &fill, &mut room);
            bilinear(frame, At::Affine(map), Bounds::outside(h, w), oh, ow, &mut out);
            for (i, &got) in out.iter().enumerate() {
                let (channel, row, column) = (i / (oh * ow), (i / ow % oh) as f64, (i % ow) as f64);
                let u = (map[0] * column + map[1] * row + map[2]).clamp(-1.0, w as f64);
                let v = (map[3] * column + map[4] * row + map[5]).clamp(-1.0, h as f64);
                let at = |row: f64, column: f64| {
                    let inside = row >= 0.0 && row < h as f64 && column >= 0.0 && column < w as f64;
                    if inside { x[(channel * h + row as usize) * w + column as usize] } else { fill[channel] }
                };
                let (x, y) = (u - u.floor(), v - v.floor());
                let line = |row| (1.0 - x) * at(row, u.floor()) + x * at(row, u.floor() + 1.0);
                let want = (1.0 - y) * line(v.floor()) + y * line(v.floor() + 1.0);
                assert!((got - want).abs() < 1e-12, "{h} × {w} to {oh} × {ow}, {i}: {got}, {want}");
            }
        }
    }
}

/// An image without pixels is all margin.
#[test]
fn nothing_is_outside() {
    for (h, w) in [(0, 0), (0, 5), (4, 0)] {
        let (mut out, mut room) = (vec![f32::NAN; 2 * 3 * 17], vec![f32::NAN; 500]);
        let frame = Frame::new(&[], (2, h, w), &[0.25, 0.75], &mut room);
        let (at, bounds) = (At::Affine([0.9, 0.2, 0.3, -0.1, 0.8, -1.0]), Bounds::outside(h, w));
        bilinear(frame, at, bounds, 3, 17, &mut out);
        let margin = |out: &[f32]| out[..51].iter().all(|&x| x == 0.25) && out[51..].iter().all(|&x| x == 0.75);
        assert!(margin(&out), "{h} × {w}");
        out.fill(f32::NAN);
        nearest(&[], (2, h, w), &[0.25, 0.75], at, bounds, 3, 17, &mut out, &mut room);
        assert!(margin(&out), "{h} × {w}");
    }
}

/// At any position, a read returns the image or the value outside.
#[test]
fn wild_places_are_outside() {
    let (h, w) = (5, 18);
    let x = vec![0.5_f32; h * w];
    let (mut out, mut room) = (vec![f32::NAN; h * w], Vec::new());
    for wild in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30, -1e30, -1.0, w as f64, -1.5, -0.5] {
        for map in [[1.0, 0.0, wild, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, wild, 0.0, wild], [0.0, 0.0, wild, 0.0, 0.0, wild]]
        {
            let bounds = Bounds::outside(h, w);
            bilinear(Frame::new(&x, (1, h, w), &[1.0], &mut room), At::Affine(map), bounds, h, w, &mut out);
            assert!(out.iter().all(|v| (0.5..=1.0).contains(v)), "{map:?}");
            nearest(&x, (1, h, w), &[1.0], At::Affine(map), bounds, h, w, &mut out, &mut room);
            assert!(out.iter().all(|&v| v == 0.5 || v == 1.0), "{map:?}");
        }
    }
}

#[test]
fn whole_pixels_are_exact() {
    for (h, w) in SIZES {
        let x = image::<f32>(h * w);
        let (mut read, mut copied, mut room) = (vec![f32::NAN; h * w], vec![f32::NAN; h * w], Vec::new());
        for (flip, by) in
            [((false, false), (2, -1)), ((true, false), (w as i64, 1)), ((true, true), (w as i64 - 3, h as i64))]
        {
            moved(&x, (h, w), flip, by, 0.75, w, &mut copied);
            let sign = |flip| if flip { -1.0 } else { 1.0 };
            let map = [sign(flip.0), 0.0, by.0 as f64, 0.0, sign(flip.1), by.1 as f64];
            let bounds = Bounds::outside(h, w);
            bilinear(Frame::new(&x, (1, h, w), &[0.75], &mut room), At::Affine(map), bounds, h, w, &mut read);
            assert_eq!(read, copied, "{h} × {w} {flip:?} {by:?}");
            nearest(&x, (1, h, w), &[0.75], At::Affine(map), bounds, h, w, &mut read, &mut room);
            assert_eq!(read, copied, "{h} × {w} {flip:?} {by:?}");
        }
    }
}

#[test]
fn bytes_round_to_the_nearest_and_the_even() {
    let rounded = [0.49, 0.5, 1.5, 2.5, 254.5, 255.7, -3.0, f32::NAN].map(<u8 as Pixel>::store);
    assert_eq!(rounded, [0, 0, 2, 2, 254, 255, 0, 255]);
}

#[test]
fn reflection_goes_back_and_forth() {
    let indices: Vec<usize> = (-5..9).map(|i| reflected(i, 4)).collect();
    assert_eq!(indices, [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]);
    assert_eq!(reflected(-7, 1), 0);
}
