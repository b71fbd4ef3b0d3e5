use std::borrow::Borrow;
use std::rc::Rc;
use std::sync::Arc;

use rand::Rng;

use super::plan::Plan;
use super::trace::Silent;
use super::{PickError, PickRequest, Picked};
use crate::{ClusterState, EndpointState};

/// The states of a cluster's endpoints.
type States = Arc<[Arc<EndpointState>]>;

/// One worker's way to a cluster: it keeps the candidates that it saw last, so that a pick need not
/// ask for them with two atomic exchanges, and lends out the endpoints.
#[derive(Debug)]
pub struct Picker {
    cluster: Arc<ClusterState>,
    plan: Arc<Plan>,
    states: Rc<States>,
}

impl Picker {
    /// For a cluster.
    #[must_use]
    pub fn new(cluster: Arc<ClusterState>) -> Self {
        let plan = cluster.newest_plan();
        let states = Rc::new(Arc::clone(cluster.roster().states()));
        Self { cluster, plan, states }
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
    ) -> Result<Picked<LentEndpoint>, PickError> {
        if !self.cluster.is_newest(&self.plan, request.now_ns) {
            self.plan = Arc::clone(&self.cluster.plan(request.now_ns));
        }
        let choice = self.cluster.choose(&self.plan, request, rng, &mut Silent)?;
        let endpoint =
            LentEndpoint(Place::Lent { states: Rc::clone(&self.states), idx: choice.idx });
        Ok(Picked::new(&self.cluster, choice, endpoint))
    }
}

/// An endpoint as a [`Picker`] lends it: counted within its thread, for an atomic exchange costs as
/// much as all of the decision. It keeps the states of the cluster's other endpoints, 8 bytes each and
/// those that are gone since; [`Picked::keep`] lets go of them.
#[derive(Clone, Debug)]
pub struct LentEndpoint(Place);

#[derive(Clone, Debug)]
enum Place {
    Lent { states: Rc<States>, idx: u32 },
    Own(Arc<EndpointState>),
}

impl Borrow<Arc<EndpointState>> for LentEndpoint {
    #[inline]
    fn borrow(&self) -> &Arc<EndpointState> {
        match &self.0 {
            Place::Lent { states, idx } => &states[*idx as usize],
            Place::Own(state) => state,
        }
    }
}

impl Picked<LentEndpoint> {
    /// For who holds it long, over changes of the configuration: keeps this endpoint alone.
    pub fn keep(&mut self) {
        self.endpoint = LentEndpoint(Place::Own(Arc::clone(self.endpoint())));
    }
}
