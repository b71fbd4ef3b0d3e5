//! What was asked of keys, when, and what was answered.

/// An order of moments in which what began after something ended has the higher number.
pub(crate) type Moment = u64;

/// Number of a session, in the order in which they were made.
pub(crate) type SessionNumber = u32;

/// A value that is written once in a history, and so tells who wrote it.
pub(crate) type Value = u64;

/// Something that was asked of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Before it was sent.
    pub(crate) called: Moment,
    /// After it was answered; where it never was, when it could not happen any more.
    pub(crate) returned: Moment,
    pub(crate) input: Input,
    pub(crate) output: Output,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Get,
    Set {
        value: Value,
    },
    /// Writes if the key's index is this one; 0: if there is no key.
    Cas {
        index: u64,
        value: Value,
    },
    Delete,
    DeleteCas {
        index: u64,
    },
    Acquire {
        session: SessionNumber,
        value: Value,
    },
    Release {
        session: SessionNumber,
        value: Value,
    },
    /// A session is destroyed, which releases the key if the session holds it. Asked of all keys at once, and checked
    /// for each on its own: that finds less than all together would, and never too much.
    End {
        session: SessionNumber,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// What a read saw.
    Seen(Option<Seen>),
    /// Whether a write was done.
    Done(bool),
    /// The session is not there (any more).
    NoSuchSession,
    /// Nobody answered: it happened or it did not.
    Unknown,
}

/// An entry as a read sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) value: Value,
    pub(crate) modify_index: u64,
    pub(crate) lock_index: u64,
    pub(crate) session: Option<SessionNumber>,
}
