//! The plans of one `TrainStep`: one for each shape of batch, all in one room. The one that was used least recently makes
//! way for a new one.

use fastnn_core::Tensor as Core;
use fastnn_core::optim::{Progress, Rule};
use fastnn_core::plan::{Fingerprint, Plan, SharedRoom};
use fastnn_core::tensor::Meta;
use smallvec::SmallVec;

use crate::optim::PySlots;

/// Plans that are kept: more shapes than a program trains on in turn, as long as it does not choose them at random.
const MOST: usize = 32;

/// A parameter of a plan: which of which group, and the tensors that the plan writes.
pub struct Place {
    /// The group's number.
    pub group: usize,
    /// The parameter's number in the group.
    pub index: usize,
    /// The parameter's id.
    pub param: u64,
    /// The ids of the optimizer's state for it.
    pub state: SmallVec<[u64; 4]>,
}

/// A plan, and what it was made for.
pub struct Entry {
    /// Shape and dtype of each tensor of a batch.
    pub batch: SmallVec<[Meta; 3]>,
    /// The generator's seed.
    pub seed: u64,
    /// The parameters.
    pub places: Vec<Place>,
    /// The plan.
    pub plan: Plan,
    /// Record of the trace, until a second one has been the same.
    pub unproven: Option<Fingerprint>,
}

impl Entry {
    /// True if it is for a batch like this.
    pub fn takes(&self, batch: &[Core], seed: u64) -> bool {
        let fits =
            |(meta, tensor): (&Meta, &Core)| meta.dtype == tensor.dtype() && meta.shape.as_slice() == tensor.shape();
        self.seed == seed && self.batch.len() == batch.len() && self.batch.iter().zip(batch).all(fits)
    }

    /// True if it may run: two traces did the same, and the optimizer still holds the tensors that the plan writes.
    pub fn ready<'a>(&self, slots: impl Fn(usize) -> &'a PySlots) -> bool {
        self.unproven.is_none() && self.current(slots)
    }

    /// True if the optimizer, whose groups' slots these are, still holds the tensors that the plan writes.
    pub fn current<'a>(&self, slots: impl Fn(usize) -> &'a PySlots) -> bool {
        self.places.iter().all(|place| {
            let slots = &slots(place.group).slots;
            slots.params.get(place.index).is_some_and(|param| param.id() == place.param)
                && slots.state[place.index].iter().map(Core::id).eq(place.state.iter().copied())
        })
    }

    /// The rule of every parameter, and how far it has come.
    pub fn updates<'a>(
        &'a self,
        rules: &'a [Rule],
        slots: impl Fn(usize) -> &'a PySlots + 'a,
    ) -> impl Iterator<Item = (Rule, Progress)> + 'a {
        self.places.iter().map(move |p| (rules[p.group], slots(p.group).slots.progress[p.index]))
    }
}

/// All plans, and where they work.
#[derive(Default)]
pub struct Plans {
    /// Each with the time of its last use.
    entries: Vec<(u64, Entry)>,
    room: SharedRoom,
    uses: u64,
}

impl Plans {
    /// The first plan that fits.
    pub fn find(&mut self, fits: impl Fn(&Entry) -> bool) -> Option<&mut Entry> {
        let (used, entry) = self.entries.iter_mut().find(|(_, entry)| fits(entry))?;
        self.uses += 1;
        *used = self.uses;
        Some(entry)
    }

    /// Keep one more plan, in the room of the others.
    pub fn add(&mut self, entry: Entry) {
        if self.entries.len() >= MOST {
            let oldest = (0..self.entries.len()).min_by_key(|&i| self.entries[i].0);
            oldest.map(|i| self.entries.remove(i));
        }
        self.uses += 1;
        let plan = entry.plan.within(&self.room);
        self.entries.push((self.uses, Entry { plan, ..entry }));
    }

    /// Keep only those plans.
    pub fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.entries.retain(|(_, entry)| keep(entry));
    }

    /// Forget all plans, and their room.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The stages of every plan, a line each.
    pub fn describe(&self) -> String {
        self.entries.iter().map(|(_, entry)| entry.plan.describe()).collect::<Vec<_>>().join("\n")
    }

    /// Number of plans, and the bytes that they work in.
    pub fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.room.bytes())
    }
}
