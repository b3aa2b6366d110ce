//! Augmentation: what is done to the images of a batch at random before a step.
//!
//! ```text
//! for every image i: draw what is done (kind.rs), add up what moves pixels (action.rs), run it (worker.rs)
//! then for the batch: mix images in pairs, and their targets (mix.rs)
//! ```
//!
//! All that is done to an image is done by one thread while the image is in cache. A batch takes one call of the
//! generator. Transform number t of a pipeline, counted in the order in which they were given, draws the numbers of
//! image i of the batch from blocks 32·i to 32·i + 31 of the stream `STREAM + 2t`, the first word saying whether it is
//! done at all; numbers of single pixels come from stream `STREAM + 2t + 1`. So neither threads nor what else is in a
//! batch show in an image.

mod action;
mod kind;
mod mix;
#[cfg(test)]
mod tests;
mod whole_batch;
mod words;
mod worker;

use action::Actions;
pub use kind::{Affine, Fill, Interpolation, Kind, Padding, Range, Value, Values};
pub use mix::{Mix, MixKind, Mixed, mix_images, mix_labels, mix_targets, mix_weights};
pub use whole_batch::{Soft, images, targets, weights};
use words::Words;
pub use worker::Worker;

use crate::error::{Error, Result};
use crate::rng::Draw;

/// The first stream, away from those of the ops.
const STREAM: u32 = 0x4000_0000;
/// Blocks that an image has for the numbers of one transform.
const BLOCKS: u64 = 32;

/// Channels, rows and columns of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

impl Shape {
    /// Numbers of an image.
    #[must_use]
    pub fn numel(self) -> usize {
        self.c * self.h * self.w
    }
}

/// A transform or a list of transforms, as the caller gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// One thing, with probability p.
    One {
        /// Its name, for errors.
        name: String,
        /// Its probability.
        p: f64,
        /// Kind of the transform.
        kind: Kind,
    },
    /// All, one after another, with probability p.
    All {
        /// The probability of all.
        p: f64,
        /// In this order.
        of: Vec<Spec>,
    },
    /// With probability p, one of these.
    Any {
        /// The probability of any.
        p: f64,
        /// Probability of each; they sum to 1.
        weights: Vec<f64>,
        /// To choose from.
        of: Vec<Spec>,
    },
}

/// A spec whose transforms have numbers.
#[derive(Clone, Debug)]
struct Node {
    number: u32,
    p: f64,
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    One { name: String, kind: Kind },
    All(Vec<Node>),
    Any { weights: Vec<f64>, of: Vec<Node> },
}

/// Transforms of images, and what mixes them afterwards.
#[derive(Clone, Debug)]
pub struct Pipeline {
    nodes: Vec<Node>,
    mix: Option<Mix>,
    mix_number: u32,
    white: Option<f64>,
    draws: bool,
    needs_images: bool,
}

/// The draw of one transform for one image: its name, and its numbers by their names.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The transform's name.
    pub name: String,
    /// Its number in the pipeline.
    pub number: u32,
    /// The names of its numbers.
    pub names: &'static [&'static str],
    /// Its numbers.
    pub values: Values,
}

impl Pipeline {
    /// Do all of these, then mix.
    #[must_use]
    pub fn new(specs: Vec<Spec>, mix: Option<Mix>) -> Self {
        let mut number = 0;
        let nodes: Vec<Node> = specs.into_iter().map(|spec| Node::new(spec, &mut number)).collect();
        let draws = nodes.iter().any(Node::draws) || mix.as_ref().is_some_and(Mix::draws);
        let needs_images = nodes.iter().any(Node::needs_images) || mix.as_ref().is_some_and(Mix::needs_images);
        Self { nodes, mix, mix_number: number, white: None, draws, needs_images }
    }

    /// Take this for white, and not what the images' type says: bytes may have become floating point.
    #[must_use]
    pub fn with_white(self, white: Option<f64>) -> Self {
        Self { white, ..self }
    }

    /// Number of calls of the generator that a batch takes: 0 if nothing is ever drawn.
    #[must_use]
    pub fn draws(&self) -> u64 {
        u64::from(self.draws)
    }

    /// True if it takes images, and not rows of any numbers.
    #[must_use]
    pub fn needs_images(&self) -> bool {
        self.needs_images
    }

    /// The transform that mixes the images of a batch.
    #[must_use]
    pub fn mix(&self) -> Option<&Mix> {
        self.mix.as_ref()
    }

    /// The shape of the images of a batch (n, c, h, w); without need of images, rows of any shape are images of one row.
    pub fn shape_of(&self, batch: &[usize]) -> Result<Shape> {
        match *batch {
            [_, c, h, w] => Ok(Shape { c, h, w }),
            [_, ref row @ ..] if !self.needs_images => Ok(Shape { c: 1, h: 1, w: row.iter().product() }),
            _ => Err(Error::value(format!("augment: expected images of shape (n, c, h, w); got {batch:?}"))),
        }
    }

    /// The shape that images of shape `from` end up with.
    pub fn shape(&self, from: Shape) -> Result<Shape> {
        self.nodes.iter().try_fold(from, |shape, node| node.shape(shape))
    }

    /// Pairing of the images of a batch of n.
    #[must_use]
    pub fn mixed(&self, draw: Draw, n: usize, shape: Shape) -> Option<Mixed> {
        self.mix.as_ref().map(|mix| {
            let draw = stream(draw, self.mix_number);
            mix.draw(draw, Draw { stream: draw.stream + 1, ..draw }, n, shape)
        })
    }

    /// The actions on image `i` of a batch.
    #[must_use]
    pub fn drawn(&self, draw: Draw, i: usize, from: Shape) -> Vec<Drawn> {
        let mut all = Vec::new();
        self.walk(draw, i, from, &mut |name, number, kind, values, _| {
            let (name, names) = (name.to_owned(), kind.names());
            all.push(Drawn { name, number, names, values: values.clone() });
        });
        all
    }

    fn actions(&self, draw: Draw, i: usize, from: Shape) -> Actions<'_> {
        let mut actions = Actions::new();
        self.walk(draw, i, from, &mut |_, number, kind, values, shape| {
            let draw = stream(draw, number);
            let noise = Draw { stream: draw.stream + 1, ..draw };
            action::push(&mut actions, kind, values, shape, noise);
        });
        actions
    }

    fn walk<'a>(&'a self, draw: Draw, i: usize, from: Shape, visit: &mut Visit<'a, '_>) {
        let mut shape = from;
        for node in &self.nodes {
            node.walk(draw, i, &mut shape, visit);
        }
    }
}

/// Gets a transform's name, number and kind, what was drawn for it, and the shape of the image it meets.
type Visit<'a, 'b> = dyn FnMut(&'a str, u32, &'a Kind, Values, Shape) + 'b;

fn stream(draw: Draw, number: u32) -> Draw {
    Draw { stream: STREAM + 2 * number, ..draw }
}

impl Node {
    fn new(spec: Spec, next: &mut u32) -> Self {
        let number = *next;
        *next += 1;
        let mut children = |of: Vec<Spec>| of.into_iter().map(|spec| Self::new(spec, next)).collect();
        let (p, work) = match spec {
            Spec::One { name, p, kind } => (p, Work::One { name, kind }),
            Spec::All { p, of } => (p, Work::All(children(of))),
            Spec::Any { p, weights, of } => (p, Work::Any { weights, of: children(of) }),
        };
        Self { number, p, work }
    }

    fn children(&self) -> &[Self] {
        match &self.work {
            Work::One { .. } => &[],
            Work::All(of) | Work::Any { of, .. } => of,
        }
    }

    fn draws(&self) -> bool {
        let chooses = matches!(self.work, Work::Any { .. });
        let drawn = matches!(&self.work, Work::One { kind, .. } if !kind.is_fixed());
        self.p < 1.0 || chooses || drawn || self.children().iter().any(Self::draws)
    }

    fn needs_images(&self) -> bool {
        let itself = matches!(&self.work, Work::One { kind, .. } if kind.needs_image());
        itself || self.children().iter().any(Self::needs_images)
    }

    fn shape(&self, from: Shape) -> Result<Shape> {
        let (name, to) = match &self.work {
            Work::One { name, kind } => (name.as_str(), kind.shape(name, from)?),
            Work::All(of) => ("Compose", of.iter().try_fold(from, |shape, node| node.shape(shape))?),
            Work::Any { of, .. } => {
                let shapes: Vec<Shape> = of.iter().map(|node| node.shape(from)).collect::<Result<_>>()?;
                if let Some(other) = shapes.iter().find(|&&shape| shape != shapes[0]) {
                    return Err(different("OneOf", shapes[0], *other));
                }
                ("OneOf", shapes.first().copied().unwrap_or(from))
            }
        };
        if self.p < 1.0 && to != from {
            return Err(different(name, to, from));
        }
        Ok(to)
    }

    fn walk<'a>(&'a self, draw: Draw, i: usize, shape: &mut Shape, visit: &mut Visit<'a, '_>) {
        let mut words = Words::new(stream(draw, self.number), i as u64 * BLOCKS);
        // A first word even where it decides nothing: settings of p do not shift the others.
        if !words.happens(self.p) {
            return;
        }
        match &self.work {
            Work::One { name, kind } => {
                let values = kind.draw(&mut words, *shape);
                visit(name, self.number, kind, values, *shape);
                *shape = kind.shape(name, *shape).unwrap_or(*shape);
            }
            Work::All(of) => of.iter().for_each(|node| node.walk(draw, i, shape, visit)),
            Work::Any { weights, of } => of[mix::chosen(weights, words.unit())].walk(draw, i, shape, visit),
        }
    }
}

fn different(name: &str, one: Shape, other: Shape) -> Error {
    Error::value(format!(
        "{name}: expected images of one size whatever is drawn; got {:?} and {:?}",
        (one.h, one.w),
        (other.h, other.w)
    ))
}
