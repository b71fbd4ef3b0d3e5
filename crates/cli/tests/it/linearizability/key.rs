//! One key as it should behave when it is asked one thing after the other.

use std::collections::BTreeSet;

use super::history::{Input, Output, Seen, SessionNumber, Value};

/// What may be true of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Key {
    entry: Option<Entry>,
    /// Indexes of writes to come are above this one.
    floor: u64,
    /// Sessions that are no more. Each begins before it is first used, so all others are there.
    ended: BTreeSet<SessionNumber>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Entry {
    value: Value,
    lock_index: u64,
    session: Option<SessionNumber>,
    modify_index: Index,
}

/// The index of a write, which nobody knows before a read tells it: what is known about it until then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Index {
    Known(u64),
    Unknown { above: u64, not: BTreeSet<u64> },
}

impl Index {
    fn above(floor: u64) -> Self {
        Self::Unknown { above: floor, not: BTreeSet::new() }
    }

    /// The index if it is `number`, if it can be.
    fn equal(&self, number: u64) -> Option<Self> {
        let can_be = match self {
            Self::Known(known) => *known == number,
            Self::Unknown { above, not } => number > *above && !not.contains(&number),
        };
        can_be.then_some(Self::Known(number))
    }

    /// The index if it is not `number`, if it can be another.
    fn other_than(&self, number: u64) -> Option<Self> {
        match self {
            Self::Known(known) => (*known != number).then(|| self.clone()),
            Self::Unknown { above, .. } if number <= *above => Some(self.clone()),
            Self::Unknown { above, not } => {
                let mut not = not.clone();
                not.insert(number);
                Some(Self::Unknown { above: *above, not })
            }
        }
    }

    /// Which numbers it can be, at the least.
    fn floor(&self) -> u64 {
        match self {
            Self::Known(known) => *known,
            Self::Unknown { above, .. } => *above,
        }
    }
}

impl Key {
    /// The key after the operation; `None` if the operation cannot have ended so. One whose end is unknown has had its
    /// effect here.
    pub(crate) fn after(&self, input: &Input, output: &Output) -> Option<Self> {
        match (input, output) {
            (Input::Get, Output::Seen(seen)) => self.seen(seen.as_ref()),
            (Input::Set { value }, Output::Done(true) | Output::Unknown) => {
                Some(self.written(*value))
            }
            (Input::Cas { index, value }, Output::Done(true) | Output::Unknown) => {
                Some(self.if_index(*index)?.written(*value))
            }
            (Input::Cas { index, .. }, Output::Done(false)) => self.if_not_index(*index),
            (Input::Delete, Output::Done(true) | Output::Unknown) => Some(self.deleted()),
            (Input::DeleteCas { index }, Output::Done(true) | Output::Unknown) => {
                match self.entry {
                    Some(_) if *index > 0 => Some(self.if_index(*index)?.deleted()),
                    Some(_) => None,
                    None => Some(self.clone()),
                }
            }
            (Input::DeleteCas { index }, Output::Done(false)) => {
                self.entry.as_ref()?;
                self.if_not_index(*index)
            }
            (Input::Acquire { session, value }, output) => self.acquire(*session, *value, output),
            (Input::Release { session, value }, Output::Done(true) | Output::Unknown) => {
                if self.holder() == Some(*session) { Some(self.freed(Some(*value))) } else { None }
            }
            (Input::Release { session, .. }, Output::Done(false)) => {
                (self.holder() != Some(*session)).then(|| self.clone())
            }
            (Input::End { session }, Output::Done(true) | Output::Unknown) => {
                let mut next =
                    if self.holder() == Some(*session) { self.freed(None) } else { self.clone() };
                next.ended.insert(*session);
                Some(next)
            }
            _ => None,
        }
    }

    fn holder(&self) -> Option<SessionNumber> {
        self.entry.as_ref()?.session
    }

    fn seen(&self, seen: Option<&Seen>) -> Option<Self> {
        let (Some(entry), Some(seen)) = (&self.entry, seen) else {
            return (self.entry.is_none() && seen.is_none()).then(|| self.clone());
        };
        let is_same = (entry.value, entry.lock_index, entry.session)
            == (seen.value, seen.lock_index, seen.session);
        if !is_same {
            return None;
        }
        Some(self.with_index(entry.modify_index.equal(seen.modify_index)?))
    }

    fn with_index(&self, index: Index) -> Self {
        let mut next = self.clone();
        if let Some(entry) = &mut next.entry {
            entry.modify_index = index;
        }
        next
    }

    /// The key if a write that asks for this index goes through.
    fn if_index(&self, index: u64) -> Option<Self> {
        match &self.entry {
            None => (index == 0).then(|| self.clone()),
            Some(_) if index == 0 => None,
            Some(entry) => Some(self.with_index(entry.modify_index.equal(index)?)),
        }
    }

    /// The key if it does not.
    fn if_not_index(&self, index: u64) -> Option<Self> {
        match &self.entry {
            None => (index != 0).then(|| self.clone()),
            Some(_) if index == 0 => Some(self.clone()),
            Some(entry) => Some(self.with_index(entry.modify_index.other_than(index)?)),
        }
    }

    /// A write keeps who holds the key.
    fn written(&self, value: Value) -> Self {
        self.replaced(|old| Entry { value, ..old })
    }

    /// Lets go of the key. Its value stays if none comes along.
    fn freed(&self, value: Option<Value>) -> Self {
        self.replaced(|old| Entry { value: value.unwrap_or(old.value), session: None, ..old })
    }

    fn replaced(&self, change: impl FnOnce(Entry) -> Entry) -> Self {
        let floor = self.entry.as_ref().map_or(self.floor, |entry| entry.modify_index.floor());
        let modify_index = Index::above(floor);
        let none =
            || Entry { value: 0, lock_index: 0, session: None, modify_index: Index::Known(0) };
        let changed = change(self.entry.clone().unwrap_or_else(none));
        Self { entry: Some(Entry { modify_index, ..changed }), floor, ended: self.ended.clone() }
    }

    fn deleted(&self) -> Self {
        let floor = self.entry.as_ref().map_or(self.floor, |entry| entry.modify_index.floor());
        Self { entry: None, floor, ended: self.ended.clone() }
    }

    fn acquire(&self, session: SessionNumber, value: Value, output: &Output) -> Option<Self> {
        let has_ended = self.ended.contains(&session);
        let is_free = self.holder().is_none_or(|holder| holder == session);
        match output {
            Output::NoSuchSession => has_ended.then(|| self.clone()),
            _ if has_ended => None,
            Output::Done(false) => (!is_free).then(|| self.clone()),
            Output::Done(true) | Output::Unknown if is_free => Some(self.replaced(|old| Entry {
                value,
                lock_index: old.lock_index + u64::from(old.session.is_none()),
                session: Some(session),
                ..old
            })),
            Output::Done(true) | Output::Unknown | Output::Seen(_) => None,
        }
    }
}
