use super::*;
use crate::element::DType;
use crate::kernels::testing::on_all_levels;
use crate::ops::gradcheck_nn::{close, gradcheck_linear, gradients, message, noise, to};
use crate::threads;
use std::sync::Arc;

fn settings(stride: [usize; 2], padding: [(usize, usize); 2], dilation: [usize; 2], groups: usize) -> Settings {
    Settings { stride, padding, dilation, groups }
}

const PLAIN: Settings = Settings { stride: [1, 1], padding: [(0, 0); 2], dilation: [1, 1], groups: 1 };

/// The formula, term by term.
fn reference(x: &Tensor, weight: &Tensor, bias: &[f64], s: Settings) -> Vec<f64> {
    let (xs, ws) = (x.to_vec_f64(), weight.to_vec_f64());
    let ([n, c, h, w], [out, each, kh, kw]) = (x.shape(), weight.shape()) else { panic!("four dimensions") };
    let [oh, ow] = [0, 1].map(|d| s.positions(d, x.shape()[2 + d], weight.shape()[2 + d]).unwrap());
    let mut y = Vec::new();
    for (i, o, oy, ox) in (0..*n)
        .flat_map(|i| (0..*out).flat_map(move |o| (0..oh).flat_map(move |oy| (0..ow).map(move |ox| (i, o, oy, ox)))))
    {
        let first = o / (out / s.groups) * each;
        let mut sum = 0.0;
        for (k, ty, tx) in (0..*each).flat_map(|k| (0..*kh).flat_map(move |a| (0..*kw).map(move |b| (k, a, b)))) {
            let at = |p: usize, t: usize, d: usize| (p * s.stride[d] + t * s.dilation[d]).checked_sub(s.padding[d].0);
            let (Some(iy), Some(ix)) = (at(oy, ty, 0), at(ox, tx, 1)) else { continue };
            if iy < *h && ix < *w {
                sum += ws[((o * each + k) * kh + ty) * kw + tx] * xs[((i * c + first + k) * h + iy) * w + ix];
            }
        }
        y.push(sum + bias.get(o).copied().unwrap_or(0.0));
    }
    y
}

/// Image, kernel and settings: wide and narrow, a kernel that is all of the image, strides that leave out columns, gaps
/// larger than the stride, uneven zeros, groups, one group a channel.
fn cases() -> Vec<([usize; 4], [usize; 4], Settings)> {
    vec![
        ([2, 3, 5, 7], [4, 3, 3, 3], PLAIN),
        ([3, 1, 6, 17], [5, 1, 1, 1], PLAIN),
        ([1, 2, 4, 3], [3, 2, 4, 3], PLAIN),
        ([9, 2, 5, 4], [3, 2, 3, 2], settings([1, 1], [(1, 1), (2, 0)], [1, 1], 1)),
        ([2, 4, 7, 6], [6, 2, 3, 2], settings([2, 3], [(1, 2), (0, 1)], [1, 2], 2)),
        ([2, 3, 6, 5], [6, 1, 2, 3], settings([3, 2], [(2, 0), (1, 3)], [2, 1], 3)),
        ([2, 2, 5, 5], [2, 2, 1, 1], settings([2, 2], [(0, 0); 2], [1, 1], 1)),
        // By Winograd's algorithm: odd and even sizes, all paddings, more channels than are made at once.
        ([8, 8, 5, 4], [9, 8, 3, 3], settings([1, 1], [(1, 1); 2], [1, 1], 1)),
        ([9, 9, 3, 6], [8, 9, 3, 3], settings([1, 1], [(0, 2), (2, 1)], [1, 1], 1)),
        ([1, 8, 14, 18], [17, 8, 3, 3], settings([1, 1], [(2, 0), (0, 0)], [1, 1], 1)),
        ([16, 8, 1, 1], [65, 8, 3, 3], settings([1, 1], [(1, 1); 2], [1, 1], 1)),
        // At every second position: the same, and images that end between positions.
        ([16, 16, 4, 5], [8, 16, 3, 3], settings([2, 2], [(1, 1); 2], [1, 1], 1)),
        ([9, 32, 12, 3], [17, 32, 3, 3], settings([2, 2], [(0, 0), (2, 1)], [1, 1], 1)),
        ([5, 16, 13, 18], [9, 16, 3, 3], settings([2, 2], [(2, 0), (0, 1)], [1, 1], 1)),
        ([5, 16, 12, 17], [9, 16, 4, 4], settings([2, 2], [(1, 1); 2], [1, 1], 1)),
        ([9, 16, 11, 6], [8, 16, 4, 4], settings([2, 2], [(0, 2), (2, 0)], [1, 1], 1)),
        // All images in one product: one position, the whole map as a window, taps without any pixel, groups, one channel.
        ([3, 12, 2, 2], [24, 12, 3, 3], settings([2, 2], [(1, 1); 2], [1, 1], 1)),
        ([4, 23, 1, 1], [11, 23, 3, 3], settings([3, 3], [(1, 1); 2], [1, 1], 1)),
        ([2, 19, 3, 4], [9, 19, 3, 4], PLAIN),
        ([2, 26, 4, 3], [40, 13, 4, 2], settings([2, 1], [(1, 0), (0, 2)], [1, 2], 2)),
        ([2, 130, 4, 4], [1, 130, 4, 4], PLAIN),
        ([1, 26, 7, 8], [9, 26, 5, 2], settings([1, 1], [(2, 2), (0, 0)], [1, 1], 1)),
    ]
}

#[test]
fn six_cases_are_of_small_maps() {
    let small = |(x, weight, s): &([usize; 4], [usize; 4], Settings)| {
        let slide = s.forward(image_of(x), image_of(weight));
        let y = [x[0], weight[0], slide.output.0, slide.output.1];
        !winograd::fits(s, weight, &y) && small::fits(&slide, (weight[1], weight[0] / s.groups))
    };
    assert_eq!(cases().iter().filter(|case| small(case)).count(), 6);
    // A map of one position sees 1 tap of 9, and one of 4 sees 4 of 9 at each.
    let settings = settings([1, 1], [(1, 1); 2], [1, 1], 1);
    let products = |size| small::products(&settings.forward((size, size), (3, 3)));
    assert_eq!((products(1), products(2), products(3)), (vec![1], vec![4; 4], vec![9]));
}

#[test]
fn nine_cases_go_by_winograd() {
    let fit = |(x, weight, s): &([usize; 4], [usize; 4], Settings)| {
        let y = conv(&noise(x, 1), &noise(weight, 2), None, 2, *s).unwrap();
        winograd::fits(s, weight, y.shape())
    };
    assert_eq!(cases().iter().filter(|case| fit(case)).count(), 9);
}

#[test]
fn values_and_gradients_are_right() {
    for (x, weight, s) in cases() {
        let (x, w, b) = (noise(&x, 1), noise(&weight, 2), noise(&weight[..1], 3));
        let y = conv(&x, &w, Some(&b), 2, s).unwrap();
        // Of sums up to 20, by transforms that lose some bits.
        close(&y, &reference(&x, &w, &b.to_vec_f64(), s), 3e-13);
        close(&conv(&x, &w, None, 2, s).unwrap(), &reference(&x, &w, &[], s), 3e-13);
        gradcheck_linear(&[x, w, b], |t| conv(&t[0], &t[1], Some(&t[2]), 2, s));
    }
}

#[test]
fn a_transposed_convolution_is_the_gradient_of_the_input() {
    for (x, weight, s) in cases() {
        let w = noise(&weight, 2);
        let x = noise(&x, 1);
        x.set_requires_grad(true).unwrap();
        let y = conv(&x, &w, None, 2, s).unwrap();
        let g = noise(y.shape(), 5);
        crate::tensor::tape::backward(&y, Some(&g), false).unwrap();
        let more = [0, 1].map(|d| {
            (x.shape()[2 + d] + s.padding[d].0 + s.padding[d].1 - (w.shape()[2 + d] - 1) * s.dilation[d] - 1)
                % s.stride[d]
        });
        let b = noise(&[x.shape()[1]], 4);
        let spread = conv_transpose(&g, &w, Some(&b), 2, s, more).unwrap();
        let area = x.shape()[2] * x.shape()[3];
        let grads = x.grad().unwrap().to_vec_f64();
        let bias = b.to_vec_f64();
        let expected: Vec<f64> = grads.iter().enumerate().map(|(i, g)| g + bias[i / area % bias.len()]).collect();
        close(&spread, &expected, 3e-13);
        gradcheck_linear(&[g, w, b], |t| conv_transpose(&t[0], &t[1], Some(&t[2]), 2, s, more));
    }
}

#[test]
fn one_dimension_and_no_batch() {
    let (x, w, b) = (noise(&[2, 3, 9], 1), noise(&[4, 3, 2], 2), noise(&[4], 3));
    let s = settings([1, 2], [(0, 0), (1, 0)], [1, 3], 1);
    let y = conv(&x, &w, Some(&b), 1, s).unwrap();
    let flat = |t: &Tensor| unsqueeze(t, -2).unwrap();
    close(&y, &reference(&flat(&x), &flat(&w), &b.to_vec_f64(), s), 1e-13);
    let one = Tensor::from_slice(&x.to_vec_f64()[..27], &[3, 9]);
    let y1 = conv(&one, &w, Some(&b), 1, s).unwrap();
    assert_eq!(y1.shape(), &y.shape()[1..]);
    close(&y1, &y.to_vec_f64()[..y1.numel()], 0.0);
}

/// The first output of every op, by teams of several sizes.
#[test]
fn the_bits_do_not_depend_on_the_team() {
    for (x, weight, s) in cases() {
        for dtype in [DType::F32, DType::F64] {
            let (x, w) = (to(&noise(&x, 1), dtype), to(&noise(&weight, 2), dtype));
            let y = conv(&x, &w, None, 2, s).unwrap();
            let (image, kernel) = (image_of(x.shape()), image_of(w.shape()));
            let ops: [(Arc<dyn Op>, [&Tensor; 2]); 3] = [
                (Arc::new(Conv { settings: s }), [&x, &w]),
                (Arc::new(ConvGradInput { settings: s, image }), [&y, &w]),
                (Arc::new(ConvGradWeight { settings: s, kernel, bias: true }), [&y, &x]),
            ];
            for (op, inputs) in ops {
                let metas = inputs.map(Tensor::meta);
                let out = op.infer(&metas).unwrap();
                let bits = |width: usize| {
                    let outputs: Vec<Tensor> =
                        out.iter().map(|m| Tensor::full(&m.shape, width as f64, m.dtype)).collect();
                    let views: Vec<View<'_>> = inputs.iter().map(|t| t.view()).collect();
                    let targets: Vec<View<'_>> = outputs.iter().map(Tensor::view).collect();
                    threads::region(width, 0, &|team| op.run(&Run { team, replay: 0 }, &views, &targets));
                    let kept = outputs.iter().step_by(2);
                    kept.flat_map(Tensor::to_vec_f64).map(f64::to_bits).collect::<Vec<_>>()
                };
                let solo = bits(1);
                for width in [2, 3, 7] {
                    assert_eq!(bits(width), solo, "{op:?}");
                }
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let wrong = |x: &[usize], w: &[usize], s| message(conv(&noise(x, 1), &noise(w, 2), None, w.len() - 2, s));
    let three = Settings { groups: 3, ..PLAIN };
    assert_eq!(
        wrong(&[2, 3, 5, 5], &[4, 2, 3, 3], PLAIN),
        "conv2d: expected input of shape (n, 2, h, w); got (2, 3, 5, 5)"
    );
    assert_eq!(wrong(&[3, 5], &[4, 2, 3], PLAIN), "conv1d: expected input of shape (n, 2, l); got (3, 5)");
    assert_eq!(
        wrong(&[2, 2, 4, 5], &[4, 2, 3, 6], PLAIN),
        "conv2d: expected a padded image at least as large as the kernel, (3, 6); got (4, 5)"
    );
    assert_eq!(
        wrong(&[2, 3, 5, 5], &[4, 1, 3, 3], three),
        "conv2d: expected output channels that groups divide; got 4 and 3"
    );
    let bias = conv(&noise(&[2, 3, 5, 5], 1), &noise(&[4, 3, 3, 3], 2), Some(&noise(&[3], 1)), 2, PLAIN);
    assert_eq!(message(bias), "conv2d: expected bias of shape (4,); got (3,)");
    let more = conv_transpose(&noise(&[2, 3, 5, 5], 1), &noise(&[3, 4, 3, 3], 2), None, 2, PLAIN, [0, 1]);
    assert_eq!(message(more), "conv_transpose2d: expected output_padding below stride or dilation, 1; got 1");
}

#[test]
fn no_images_make_no_gradient() {
    let (x, w, b) = (noise(&[0, 3, 5, 5], 1), noise(&[4, 3, 3, 3], 2), noise(&[4], 3));
    for t in [&x, &w, &b] {
        t.set_requires_grad(true).unwrap();
    }
    let y = conv(&x, &w, Some(&b), 2, PLAIN).unwrap();
    assert_eq!(y.shape(), [0, 4, 3, 3]);
    crate::tensor::tape::backward(&y, Some(&noise(&[0, 4, 3, 3], 1)), false).unwrap();
    assert_eq!(x.grad().unwrap().shape(), [0, 3, 5, 5]);
    close(&w.grad().unwrap(), &[0.0; 108], 0.0);
    close(&b.grad().unwrap(), &[0.0; 4], 0.0);
}

/// By columns and by Winograd's algorithm: the same chains and transforms, whatever the width of a register.
#[test]
fn the_bits_do_not_depend_on_the_instruction_set() {
    for (x, weight, s) in cases() {
        for dtype in [DType::F32, DType::F64] {
            let inputs = [to(&noise(&x, 1), dtype), to(&noise(&weight, 2), dtype), to(&noise(&weight[..1], 3), dtype)];
            on_all_levels(|| {
                let f = |t: &[Tensor]| conv(&t[0], &t[1], Some(&t[2]), 2, s);
                let found = gradients(&inputs, f).into_iter().chain([f(&inputs).unwrap()]);
                found.flat_map(|t| t.to_vec_f64()).map(f64::to_bits).collect::<Vec<_>>()
            });
        }
    }
}

/// By columns and by Winograd's algorithm, images that are nothing but padding.
#[test]
fn images_without_rows_or_columns_have_empty_gradients() {
    let cases = [([2, 3, 0, 5], 3, 1), ([9, 8, 0, 5], 8, 1), ([9, 8, 5, 0], 8, 1), ([16, 16, 0, 5], 16, 2)];
    for (image, channels, stride) in cases {
        let s = settings([stride; 2], [(2, 2); 2], [1, 1], 1);
        let (x, w) = (noise(&image, 1), noise(&[8, channels, 3, 3], 2));
        for t in [&x, &w] {
            t.set_requires_grad(true).unwrap();
        }
        let y = conv(&x, &w, None, 2, s).unwrap();
        close(&y, &vec![0.0; y.numel()], 0.0);
        crate::tensor::tape::backward(&y, Some(&noise(y.shape(), 3)), false).unwrap();
        assert_eq!(x.grad().unwrap().shape(), image);
        close(&w.grad().unwrap(), &vec![0.0; w.numel()], 0.0);
    }
}
