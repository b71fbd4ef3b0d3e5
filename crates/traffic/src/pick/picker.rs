use std::sync::Arc;

use rand::Rng;

use super::plan::Plan;
use super::trace::Silent;
use super::{PickError, PickRequest, Picked};
use crate::ClusterState;

/// One worker's way to a cluster: it keeps the candidates that it saw last, so that a pick need not
/// ask for them with two atomic exchanges.
#[derive(Clone, Debug)]
pub struct Picker {
    cluster: Arc<ClusterState>,
    plan: Arc<Plan>,
}

impl Picker {
    /// For a cluster.
    #[must_use]
    pub fn new(cluster: Arc<ClusterState>) -> Self {
        let plan = cluster.newest_plan();
        Self { cluster, plan }
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Arc<ClusterState> {
        &self.cluster
    }

    /// [`ClusterState::pick`].
    ///
    /// # Errors
    /// When there is no endpoint for it.
    #[inline]
    pub fn pick<R: Rng + ?Sized>(
        &mut self,
        request: &PickRequest<'_>,
        rng: &mut R,
    ) -> Result<Picked, PickError> {
        if !self.cluster.is_newest(&self.plan, request.now_ns) {
            self.plan = Arc::clone(&self.cluster.plan(request.now_ns));
        }
        let choice = self.cluster.choose(&self.plan, request, rng, &mut Silent)?;
        Ok(Picked::new(&self.cluster, choice))
    }
}
