use super::warp::{At, Bounds, Frame, bilinear, blur, blur_room, moved, nearest, reflected};
use super::{Pixel, colour, noise};
use crate::rng::{self, Draw};
use crate::simd::{self, Level};

const DRAW: Draw = Draw { seed: 3, stream: 1, call: 4 };
/// One pixel; a row; no multiple of 16 on either side of it; one.
const SIZES: [(usize, usize); 5] = [(1, 1), (1, 7), (9, 15), (13, 19), (6, 32)];

fn image(n: usize) -> Vec<f32> {
    let mut image = vec![0.0; n];
    rng::uniform(DRAW, 0, &mut image);
    image
}

/// What every kernel makes of an image of three planes, one after another.
fn everything(h: usize, w: usize) -> Vec<f32> {
    let (size, x, fill) = ((3, h, w), image(3 * h * w), [0.25, 0.5, 0.75]);
    let map = [0.8, 0.3, -0.4, -0.35, 0.9, 0.6];
    let field = image(2 * h * w);
    let (mut all, mut out, mut room) = (x.clone(), vec![f32::NAN; 3 * h * w], Vec::new());
    for at in [At::Affine(map), At::Moved(&field[..h * w], &field[h * w..])] {
        bilinear(Frame::new(&x, size, &fill, &mut room), at, Bounds::outside(h, w), h, w, &mut out);
        all.extend(&out);
        nearest(&x, size, &fill, at, Bounds::outside(h, w), h, w, &mut out);
        all.extend(&out);
    }
    let kernel = [0.1, 0.2, 0.4, 0.2, 0.1];
    let mut plane = x[..h * w].to_vec();
    blur(&mut plane, (h, w), &kernel, &mut vec![0.0; blur_room(h, w, kernel.len())]);
    all.extend(&plane);
    let mut y = x;
    colour::brightness(&mut y, 1.3, 1.0);
    colour::contrast(&mut y, 3, 0.7, 1.0);
    colour::saturation(&mut y, 1.6, 1.0);
    colour::hue(&mut y, 0.2);
    all.extend(&y);
    noise::mask(&mut y, DRAW, 5, 1 << 30);
    noise::salt_and_pepper(&mut y, h * w, DRAW, 9, 1 << 29, 1 << 30, 1.0);
    all.extend(&y);
    all
}

#[test]
fn all_levels_give_the_same_bits() {
    for (h, w) in SIZES {
        simd::set_level(Level::Portable);
        let want: Vec<u32> = everything(h, w).into_iter().map(f32::to_bits).collect();
        for level in [Level::Avx2, Level::Avx512] {
            simd::set_level(level);
            let got: Vec<u32> = everything(h, w).into_iter().map(f32::to_bits).collect();
            assert_eq!(got, want, "{h} × {w}, {level:?}");
        }
    }
}

/// Whatever the places are, what is read is the image or the value outside.
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
            nearest(&x, (1, h, w), &[1.0], At::Affine(map), bounds, h, w, &mut out);
            assert!(out.iter().all(|&v| v == 0.5 || v == 1.0), "{map:?}");
        }
    }
}

#[test]
fn whole_pixels_are_exact() {
    for (h, w) in SIZES {
        let x = image(h * w);
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
            nearest(&x, (1, h, w), &[0.75], At::Affine(map), bounds, h, w, &mut read);
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
