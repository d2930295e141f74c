//! The handles of the token's objects, by object ID: an operation never searches.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cryptoki::object::{ObjectClass, ObjectHandle};
use parking_lot::RwLock;

use crate::domain::ids::ObjectId;

/// How long an object that was looked for and not found is not looked for again. A row without its object must not keep the
/// token busy with searches, which take 0.66 s among 50,000 objects.
const ABSENT_FOR: Duration = Duration::from_millis(500);
/// The most absent objects that are remembered.
const ABSENT_MAX: usize = 1024;

/// Which object of those with one ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Secret,
    Private,
    Public,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Secret, Self::Private, Self::Public];

    pub(super) const fn class(self) -> ObjectClass {
        match self {
            Self::Secret => ObjectClass::SECRET_KEY,
            Self::Private => ObjectClass::PRIVATE_KEY,
            Self::Public => ObjectClass::PUBLIC_KEY,
        }
    }

    pub(super) fn of_class(class: ObjectClass) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.class() == class)
    }
}

/// A handle and the connection on which it means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) generation: u64,
    pub(super) raw: ObjectHandle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Slot {
    #[default]
    Empty,
    One(ObjectHandle),
    Many,
}

impl Slot {
    /// The same handle twice is one object: two writers on one SoftHSM directory make a search list objects doubly.
    fn add(self, handle: ObjectHandle) -> Self {
        match self {
            Self::Empty => Self::One(handle),
            Self::One(known) if known == handle => self,
            Self::One(_) | Self::Many => Self::Many,
        }
    }
}

/// The objects that share one ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Entry {
    secret: Slot,
    private: Slot,
    public: Slot,
}

impl Entry {
    pub(super) fn add(&mut self, part: Part, handle: ObjectHandle) {
        let slot = match part {
            Part::Secret => &mut self.secret,
            Part::Private => &mut self.private,
            Part::Public => &mut self.public,
        };
        *slot = slot.add(handle);
    }

    pub(super) fn of(parts: impl IntoIterator<Item = (Part, ObjectHandle)>) -> Self {
        let mut entry = Self::default();
        parts.into_iter().for_each(|(part, handle)| entry.add(part, handle));
        entry
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn slot(&self, part: Part) -> Slot {
        match part {
            Part::Secret => self.secret,
            Part::Private => self.private,
            Part::Public => self.public,
        }
    }

    fn count(&self) -> usize {
        [self.secret, self.private, self.public].iter().filter(|slot| **slot != Slot::Empty).count()
    }
}

/// What the cache knows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Handle(Handle),
    /// More than one object.
    Ambiguous,
    /// It was looked for and not found a moment ago; or the ID is one of an object of another kind.
    Absent,
    /// Nothing: look it up.
    Unknown,
}

#[derive(Debug, Default)]
struct Contents {
    generation: u64,
    entries: HashMap<ObjectId, Entry>,
    absent: HashMap<ObjectId, Instant>,
}

#[derive(Debug, Default)]
pub(super) struct HandleCache(RwLock<Contents>);

impl HandleCache {
    /// Starts anew with what was found on a new connection.
    pub(super) fn rebuild(&self, generation: u64, entries: HashMap<ObjectId, Entry>) {
        *self.0.write() = Contents { generation, entries, absent: HashMap::new() };
    }

    pub(super) fn known(&self, id: ObjectId, part: Part) -> Known {
        let contents = self.0.read();
        if let Some(entry) = contents.entries.get(&id) {
            return match entry.slot(part) {
                Slot::One(raw) => Known::Handle(Handle { generation: contents.generation, raw }),
                Slot::Many => Known::Ambiguous,
                Slot::Empty => Known::Absent,
            };
        }
        match contents.absent.get(&id) {
            Some(since) if since.elapsed() < ABSENT_FOR => Known::Absent,
            _ => Known::Unknown,
        }
    }

    /// Keeps what a search on the connection `generation` found, unless there is a newer connection.
    pub(super) fn learn(&self, generation: u64, id: ObjectId, entry: Entry) {
        let mut contents = self.0.write();
        if contents.generation != generation {
            return;
        }
        if entry.is_empty() {
            contents.entries.remove(&id);
            if contents.absent.len() >= ABSENT_MAX {
                contents.absent.clear();
            }
            contents.absent.insert(id, Instant::now());
        } else {
            contents.absent.remove(&id);
            contents.entries.insert(id, entry);
        }
    }

    pub(super) fn forget(&self, id: ObjectId) {
        let mut contents = self.0.write();
        contents.entries.remove(&id);
        contents.absent.remove(&id);
    }

    /// Forgets an object because its handle turned out to be stale, unless somebody has looked it up again meanwhile.
    pub(super) fn forget_stale(&self, id: ObjectId, part: Part, stale: Handle) {
        let mut contents = self.0.write();
        let same = contents.entries.get(&id).is_some_and(|entry| entry.slot(part) == Slot::One(stale.raw));
        if same && contents.generation == stale.generation {
            contents.entries.remove(&id);
        }
    }

    /// Whether any object with that ID is known.
    pub(super) fn has(&self, id: ObjectId) -> bool {
        self.0.read().entries.contains_key(&id)
    }

    /// How many objects have a cached handle.
    pub(super) fn len(&self) -> usize {
        self.0.read().entries.values().map(Entry::count).sum()
    }
}
