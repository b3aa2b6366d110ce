//! Tensors: buffers, views of them, and their place on the tape.

pub mod anomaly;
pub mod layout;
mod lineage;
pub mod overlap;
pub mod room;
mod storage;
pub mod tape;
pub mod trace;
pub mod view;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use layout::{Dims, Layout, Strides};
pub use lineage::rebase;
pub use storage::{Keeper, Storage};
pub use view::View;

use crate::element::{DType, Element};
use crate::error::{Error, Result};
use lineage::Relation;
use tape::Node;

/// A shape and an element type: what a shape rule knows of an operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Sizes of the dimensions.
    pub shape: Dims,
    /// The element type.
    pub dtype: DType,
}

impl Meta {
    /// Both at once.
    #[must_use]
    pub fn new(shape: &[usize], dtype: DType) -> Self {
        Self { shape: Dims::from_slice(shape), dtype }
    }

    /// Number of elements.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }
}

/// An n-dimensional array, shared by reference, that may be a leaf or a result on the tape.
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    id: u64,
    storage: Arc<Storage>,
    layout: Layout,
    dtype: DType,
    relation: Relation,
    autograd: Mutex<Autograd>,
}

/// The tape's state of a tensor.
#[derive(Default)]
struct Autograd {
    requires_grad: bool,
    grad: Option<Tensor>,
    /// The op that made this tensor, and which of its outputs this is.
    node: Option<(Arc<Node>, usize)>,
    /// State of a view.
    view: lineage::State,
    /// The tensor that took this one's place when other data were assigned.
    heir: Option<Tensor>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Tensor {
    /// A tensor over existing memory.
    #[must_use]
    pub fn from_storage(storage: Arc<Storage>, layout: Layout, dtype: DType) -> Self {
        Self::build(storage, layout, dtype, Relation::Own)
    }

    fn build(storage: Arc<Storage>, layout: Layout, dtype: DType, relation: Relation) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(Inner { id, storage, layout, dtype, relation, autograd: Mutex::default() }))
    }

    /// A tensor whose elements are yet to be written.
    #[must_use]
    pub fn empty(shape: &[usize], dtype: DType) -> Self {
        let layout = Layout::contiguous(shape);
        let storage = Arc::new(Storage::alloc(layout.numel() * dtype.size()));
        Self::from_storage(storage, layout, dtype)
    }

    /// All elements 0.
    #[must_use]
    pub fn zeros(shape: &[usize], dtype: DType) -> Self {
        let tensor = Self::empty(shape, dtype);
        // SAFETY: fresh memory of that many bytes, nobody else's yet.
        unsafe { std::ptr::write_bytes(tensor.0.storage.ptr(), 0, tensor.0.storage.bytes()) };
        tensor
    }

    /// All elements the same value, converted to `dtype`.
    #[must_use]
    pub fn full(shape: &[usize], value: f64, dtype: DType) -> Self {
        match dtype {
            DType::F32 => Self::filled(shape, value as f32),
            DType::F64 => Self::filled(shape, value),
            DType::I64 => Self::filled(shape, value as i64),
            DType::Bool => Self::filled(shape, u8::from(value != 0.0)),
        }
    }

    /// All elements the same value.
    #[must_use]
    pub fn filled<T: Element>(shape: &[usize], value: T) -> Self {
        let tensor = Self::empty(shape, T::DTYPE);
        let first = tensor.0.storage.ptr().cast::<T>();
        for i in 0..tensor.numel() {
            // SAFETY: fresh memory of that many elements, nobody else's yet.
            unsafe { first.add(i).write(value) };
        }
        tensor
    }

    /// A copy of `data` in row-major order.
    #[must_use]
    pub fn from_slice<T: Element>(data: &[T], shape: &[usize]) -> Self {
        let tensor = Self::empty(shape, T::DTYPE);
        assert_eq!(data.len(), tensor.numel(), "as many elements as the shape has");
        // SAFETY: fresh memory of that many elements.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), tensor.0.storage.ptr().cast(), data.len()) };
        tensor
    }

    /// Another view of the same memory, not on the tape.
    #[must_use]
    pub fn alias(&self, layout: Layout) -> Self {
        Self::build(Arc::clone(&self.0.storage), layout, self.0.dtype, Relation::Detached)
    }

    /// The same memory, cut from the tape.
    #[must_use]
    pub fn detach(&self) -> Self {
        let detached = self.alias(self.0.layout.clone());
        trace::same(&detached, self);
        detached
    }

    /// A number that no other living tensor object has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The id of the next tensor that is made.
    pub(crate) fn next_id() -> u64 {
        NEXT_ID.load(Ordering::Relaxed)
    }

    /// The memory.
    #[must_use]
    pub fn storage(&self) -> &Arc<Storage> {
        &self.0.storage
    }

    /// Positions of the elements.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// Sizes of the dimensions.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.0.layout.shape
    }

    /// Number of dimensions.
    #[must_use]
    pub fn ndim(&self) -> usize {
        self.0.layout.ndim()
    }

    /// Number of elements.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.0.layout.numel()
    }

    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Shape and element type.
    #[must_use]
    pub fn meta(&self) -> Meta {
        Meta { shape: self.0.layout.shape.clone(), dtype: self.0.dtype }
    }

    /// True if it shares another tensor's memory by construction.
    #[must_use]
    pub fn is_view(&self) -> bool {
        !matches!(self.0.relation, Relation::Own)
    }

    /// Borrow the elements.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        // SAFETY: the layout was made for this storage, which lives as long as `self`.
        unsafe {
            let first = self.0.storage.ptr().add(self.0.layout.offset * self.0.dtype.size());
            View::new(first, &self.0.layout, self.0.dtype)
        }
    }

    /// All elements in row-major order, converted to f64: for tests and messages.
    #[must_use]
    pub fn to_vec_f64(&self) -> Vec<f64> {
        let mut out = crate::reserve::with_capacity(self.numel());
        crate::with_element!(self.dtype(), T => {
            let ptr = self.view().ptr::<T>();
            for_each_offset(self.layout(), |offset| {
                // SAFETY: the layout's offsets lie in its storage.
                #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
                out.push(unsafe { *ptr.offset(offset) } as f64);
            });
        });
        out
    }

    /// The tape's state, as it was last written. A tensor must never be dropped while this lock is held: dropping one may
    /// free a graph that holds this very tensor.
    fn autograd(&self) -> MutexGuard<'_, Autograd> {
        self.0.autograd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tape's state, after a view has followed its base.
    fn followed(&self) -> MutexGuard<'_, Autograd> {
        self.follow();
        self.autograd()
    }

    /// True if gradients flow to it.
    #[must_use]
    pub fn requires_grad(&self) -> bool {
        self.followed().requires_grad
    }

    /// Ask for its gradient, or no longer.
    pub fn set_requires_grad(&self, value: bool) -> Result<()> {
        if value && !self.dtype().is_float() {
            return Err(Error::state(format!("requires_grad: expected a floating-point tensor; got {}", self.dtype())));
        }
        let mut autograd = self.followed();
        if !value && autograd.node.is_some() {
            return Err(Error::state(
                "requires_grad: expected a leaf to switch off; got the result of an op (use detach())",
            ));
        }
        autograd.requires_grad = value;
        Ok(())
    }

    /// True if it was not made by an op that the tape recorded.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        self.followed().node.is_none()
    }

    /// The op that made it, and which of its outputs it is.
    #[must_use]
    pub fn node(&self) -> Option<(Arc<Node>, usize)> {
        self.followed().node.clone()
    }

    /// Put it on the tape as output `index` of `node`; it then requires grad.
    pub fn set_node(&self, node: Arc<Node>, index: usize) {
        let mut autograd = self.autograd();
        autograd.requires_grad = true;
        let old = autograd.node.replace((node, index));
        drop(autograd);
        drop(old);
    }

    /// This tensor with other data, as `tensor.data = data` makes it: it takes over the place on the tape and the gradient, and
    /// gradients that reach this one go there.
    pub fn with_data(&self, data: &Self) -> Result<Self> {
        let heir = data.detach();
        let autograd = self.followed();
        let (requires_grad, grad, node) = (autograd.requires_grad, autograd.grad.clone(), autograd.node.clone());
        drop(autograd);
        if requires_grad {
            heir.set_requires_grad(true)?;
        }
        heir.set_grad(grad);
        if let Some((node, index)) = node {
            heir.set_node(node, index);
        }
        let old = self.autograd().heir.replace(heir.clone());
        drop(old);
        Ok(heir)
    }

    /// The tensor that stands for this one now.
    fn heir(&self) -> Self {
        let mut tensor = self.clone();
        loop {
            let Some(heir) = tensor.autograd().heir.clone() else { break };
            tensor = heir;
        }
        tensor
    }

    /// The accumulated gradient of a leaf.
    #[must_use]
    pub fn grad(&self) -> Option<Self> {
        self.autograd().grad.clone()
    }

    /// Replace the gradient.
    pub fn set_grad(&self, grad: Option<Self>) {
        let old = std::mem::replace(&mut self.autograd().grad, grad);
        drop(old);
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor{}:{}", layout::show(self.shape()), self.dtype())
    }
}

/// Call `f` with each element's distance from the first, in row-major order.
pub fn for_each_offset(layout: &Layout, mut f: impl FnMut(isize)) {
    if layout.numel() == 0 {
        return;
    }
    let n = layout.ndim();
    let mut index: Dims = smallvec::SmallVec::from_elem(0, n);
    let mut offset = 0;
    loop {
        f(offset);
        let mut d = n;
        loop {
            if d == 0 {
                return;
            }
            d -= 1;
            index[d] += 1;
            offset += layout.strides[d];
            if index[d] < layout.shape[d] {
                break;
            }
            offset -= layout.strides[d] * layout.shape[d] as isize;
            index[d] = 0;
        }
    }
}
