//! The routes of a virtual host by path: a radix tree, so that a look-up takes time by the length
//! of the path and not by the number of routes.
//!
//! Every route hangs at the node of the text that its paths begin with. A path's candidates are
//! those at the nodes on its way; of those that match, the one that stands first in the table wins.

use super::path_match::Reach;

/// Nodes with routes that are looked at from the longest text to the shortest: long ones tend to
/// stand first, and what stands behind the best candidate so far need not be looked at. Beyond this
/// many, nodes are looked at as they come.
const NODES_DEFERRED: usize = 16;

/// Routes by path.
#[derive(Debug)]
pub(super) struct PathIndex {
    nodes: Vec<Node>,
    /// Keys are in lower case, and so are paths taken.
    fold: bool,
}

#[derive(Debug, Default)]
struct Node {
    /// Text between the parent and this node.
    label: Box<[u8]>,
    /// First byte of the label, and the node; sorted.
    children: Vec<(u8, u32)>,
    /// Routes that begin here, as they stand in the table.
    routes: Vec<Indexed>,
}

/// A route in an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Indexed {
    /// Position in the table: the lowest wins.
    pub(super) position: u32,
    pub(super) reach: Reach,
    /// It has no conditions but the one on the path.
    pub(super) is_unconditional: bool,
}

impl PathIndex {
    pub(super) fn new(fold: bool) -> Self {
        Self { nodes: vec![Node::default()], fold }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.nodes[0].routes.is_empty()
    }

    /// Adds a route; those that stand first come first.
    pub(super) fn add(&mut self, key: &str, route: Indexed) {
        let mut at = 0;
        let mut rest = key.as_bytes();
        while let Some(first) = rest.first() {
            let children = &self.nodes[at].children;
            match children.binary_search_by_key(first, |(byte, _)| *byte) {
                Err(place) => {
                    let node = self.push(Node { label: rest.into(), ..Node::default() });
                    self.nodes[at].children.insert(place, (*first, node as u32));
                    (at, rest) = (node, &[]);
                }
                Ok(place) => {
                    let child = children[place].1 as usize;
                    let label = &self.nodes[child].label;
                    let shared = label.iter().zip(rest).take_while(|(a, b)| a == b).count();
                    if shared < label.len() {
                        self.split(child, shared);
                    }
                    (at, rest) = (child, &rest[shared..]);
                }
            }
        }
        let routes = &mut self.nodes[at].routes;
        if !routes.iter().any(|before| before.hides(route.reach)) {
            routes.push(route);
        }
    }

    /// Position of the first route below `best` that matches. `matches` says of a candidate whether
    /// its conditions (and, for [`Reach::Check`], its path) match.
    pub(super) fn first(&self, path: &str, best: u32, matches: impl Fn(Indexed) -> bool) -> u32 {
        let path = path.as_bytes();
        let mut best = best;
        let mut look_at = |node: &Node, end: usize| {
            for route in &node.routes {
                if route.position >= best {
                    break;
                }
                let is_reached = match route.reach {
                    Reach::Exact => end == path.len(),
                    Reach::Segments => matches!(path.get(end), None | Some(b'/')),
                    Reach::Prefix | Reach::Check => true,
                };
                let is_sure = route.is_unconditional && route.reach != Reach::Check;
                if is_reached && (is_sure || matches(*route)) {
                    best = route.position;
                    break;
                }
            }
        };
        let mut deferred = [(0u32, 0usize); NODES_DEFERRED];
        let mut count = 0;
        let (mut at, mut end) = (0, 0);
        loop {
            let node = &self.nodes[at];
            if !node.routes.is_empty() {
                if count < NODES_DEFERRED {
                    deferred[count] = (at as u32, end);
                    count += 1;
                } else {
                    look_at(node, end);
                }
            }
            let Some(child) = self.child(node, &path[end..]) else { break };
            at = child;
            end += self.nodes[child].label.len();
        }
        for (at, end) in deferred[..count].iter().rev() {
            look_at(&self.nodes[*at as usize], *end);
        }
        best
    }

    fn child(&self, node: &Node, rest: &[u8]) -> Option<usize> {
        let first = *rest.first()?;
        let first = if self.fold { first.to_ascii_lowercase() } else { first };
        let place = node.children.binary_search_by_key(&first, |(byte, _)| *byte).ok()?;
        let child = node.children[place].1 as usize;
        let label = &self.nodes[child].label;
        let start = rest.get(..label.len())?;
        let is_same = if self.fold { start.eq_ignore_ascii_case(label) } else { *start == **label };
        is_same.then_some(child)
    }

    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Puts a node between `child` and its parent, after so many bytes of the label.
    fn split(&mut self, child: usize, shared: usize) {
        let whole = &mut self.nodes[child];
        let label = std::mem::take(&mut whole.label);
        let below = Node {
            label: label[shared..].into(),
            children: std::mem::take(&mut whole.children),
            routes: std::mem::take(&mut whole.routes),
        };
        let first = below.label[0];
        whole.label = label[..shared].into();
        let below = self.push(below) as u32;
        self.nodes[child].children.push((first, below));
    }
}

impl Indexed {
    /// Whether this route always wins over one that comes later at the same node.
    fn hides(self, later: Reach) -> bool {
        self.is_unconditional
            && match self.reach {
                Reach::Prefix => true,
                Reach::Segments => matches!(later, Reach::Segments | Reach::Exact),
                Reach::Exact => later == Reach::Exact,
                Reach::Check => false,
            }
    }
}
