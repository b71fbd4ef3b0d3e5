use std::time::Duration;

use crate::{RefusedRetry, Retry};

/// The tries of one request that go on beside each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hedge {
    /// Tries whose response is awaited, with those that wait for their back-off.
    awaited: u32,
}

/// A try that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EndedTry {
    /// With the head of a response, not with a failure.
    pub answered: bool,
    /// Because its time limit was over another was made beside it, and so none is made in its
    /// place.
    pub hedged: bool,
}

/// What becomes of a try that has ended, with a response or without.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HedgeVerdict {
    /// It is the answer; the others are broken off.
    Use,
    /// It is forgotten; another may do better.
    Drop,
    /// Another try is made in its place after this time.
    Retry(Duration),
}

impl Hedge {
    /// One more try has been decided on: the first one, one beside another whose time limit is
    /// over, or one in the place of one that has ended.
    pub fn begin_try(&mut self) {
        self.awaited += 1;
    }

    /// Tries whose response is awaited.
    #[must_use]
    pub fn awaited(&self) -> u32 {
        self.awaited
    }

    /// A try has ended, and this is what [`crate::RetryPlan::decide`] says of it.
    ///
    /// The first response that the policy has nothing against wins. One that it would rather not
    /// have, or a failure, is the answer only when nothing else is awaited.
    pub fn end_try(&mut self, ended: EndedTry, decision: Retry) -> HedgeVerdict {
        self.awaited = self.awaited.saturating_sub(1);
        match decision {
            Retry::No(RefusedRetry::NotRetriable) if ended.answered => HedgeVerdict::Use,
            Retry::After(wait) if !ended.hedged => HedgeVerdict::Retry(wait),
            Retry::After(_) | Retry::No(_) if self.awaited > 0 => HedgeVerdict::Drop,
            Retry::After(_) | Retry::No(_) => HedgeVerdict::Use,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{EndedTry, Hedge, HedgeVerdict};
    use crate::{RefusedRetry, Retry};

    const GOOD: Retry = Retry::No(RefusedRetry::NotRetriable);
    const BAD_AND_LAST: Retry = Retry::No(RefusedRetry::LimitReached);
    const BAD: Retry = Retry::After(Duration::from_millis(5));

    const PLAIN: EndedTry = EndedTry { answered: true, hedged: false };
    const HEDGED: EndedTry = EndedTry { answered: true, hedged: true };

    fn with_tries(count: usize) -> Hedge {
        let mut hedge = Hedge::default();
        (0..count).for_each(|_| hedge.begin_try());
        hedge
    }

    #[test]
    fn the_first_good_response_wins_whichever_try_it_is_of() {
        assert_eq!(with_tries(2).end_try(HEDGED, GOOD), HedgeVerdict::Use);
        assert_eq!(with_tries(2).end_try(PLAIN, GOOD), HedgeVerdict::Use);
    }

    #[test]
    fn a_bad_response_is_dropped_while_another_is_awaited_and_used_when_it_is_the_last() {
        let mut hedge = with_tries(2);
        assert_eq!(hedge.end_try(HEDGED, BAD), HedgeVerdict::Drop);
        assert_eq!(hedge.end_try(PLAIN, BAD_AND_LAST), HedgeVerdict::Use);
        let mut hedge = with_tries(2);
        assert_eq!(hedge.end_try(PLAIN, BAD_AND_LAST), HedgeVerdict::Drop);
        assert_eq!(hedge.end_try(HEDGED, BAD), HedgeVerdict::Use);
    }

    #[test]
    fn a_bad_response_of_a_try_that_was_not_hedged_is_tried_again() {
        let mut hedge = with_tries(1);
        assert_eq!(hedge.end_try(PLAIN, BAD), HedgeVerdict::Retry(Duration::from_millis(5)));
        hedge.begin_try();
        assert_eq!(hedge.awaited(), 1);
    }

    #[test]
    fn a_failure_that_the_policy_does_not_retry_waits_for_the_others() {
        let broken = EndedTry { answered: false, hedged: true };
        let mut hedge = with_tries(2);
        assert_eq!(hedge.end_try(broken, GOOD), HedgeVerdict::Drop);
        assert_eq!(hedge.end_try(broken, GOOD), HedgeVerdict::Use);
    }
}
