use model::Timestamp;

use super::SightingKind;

/// What proxies see of an instance, and what it comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SightingsView {
    /// What it comes to.
    pub state: SightingsState,
    /// Since when.
    pub since: Timestamp,
    /// Until when it is so at the latest, where that is known.
    pub until: Option<Timestamp>,
    /// From when on a passing probe, or a success, ends it earlier; only when it is out of use.
    pub eases: Option<Timestamp>,
    /// Why, in one line.
    pub text: String,
    /// How often it has been out of use in a row, this time included; what decides how long it is.
    pub times_in_a_row: u32,
    /// How long it would be out of use the next time, in milliseconds.
    pub next_hold_ms: u64,
    /// What each proxy saw.
    pub proxies: Vec<SeenByProxy>,
}

/// What it comes to that proxies see an instance fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SightingsState {
    /// Not (or no more) out of use for it.
    Watched,
    /// It would be out of use, but too few of its service would be left.
    Spared,
    /// It is out of use.
    Against,
}

impl SightingsState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SightingsState::Watched => "watched",
            SightingsState::Spared => "spared",
            SightingsState::Against => "against",
        }
    }
}

/// What one proxy saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenByProxy {
    /// The proxy.
    pub proxy: String,
    /// What it saw last.
    pub kind: SightingKind,
    /// The same for people.
    pub words: &'static str,
    /// How often it told of a failure.
    pub count: u32,
    /// When first.
    pub first: Timestamp,
    /// When last.
    pub last: Timestamp,
    /// Until when it does not use it by itself, if that is still so.
    pub ejected_until: Option<Timestamp>,
    /// When it saw it succeed again.
    pub recovered: Option<Timestamp>,
}
