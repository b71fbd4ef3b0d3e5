//! Prepared queries: found by id or name, made of templates, answered from the catalog.

use filter::pattern;
use model::{
    Catalog, CheckStatus, FlatMap, Folded, Found, Instance, Node, PreparedQuery, ServiceId,
    ServiceQuery, Stored,
};

/// Nesting of a template's text is none: what stands in `${…}` is a variable or `match(N)`.
const EXPRESSION_BYTES_MAX: usize = 64;
/// Most bytes that a text may become: no name is longer.
const FILLED_BYTES_MAX: usize = 4096;

/// Why a query cannot be made of its template.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TemplateError {
    /// `${` without `}`.
    #[error("{0:?} has a `${{` without an end")]
    Open(String),
    /// An expression that is not known.
    #[error(
        "{0:?} is none of name.full, name.prefix, name.suffix, agent.segment and match(N), which \
         a template may use"
    )]
    Unknown(String),
    /// A regular expression that cannot be read.
    #[error("bad Regexp {pattern:?}: {why}")]
    Regexp {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// What comes of it has no end.
    #[error("a text of the template becomes longer than {FILLED_BYTES_MAX} bytes")]
    TooLong,
    /// Another kind than `name_prefix_match`.
    #[error("bad Template.Type {0:?}; it is name_prefix_match")]
    Kind(String),
}

/// The query that is asked for by its id, by its name, or by a name that a template stands for: of several templates the one
/// with the longest name. Names are compared without regard to letter case.
#[must_use]
pub fn find_query<'a>(catalog: &'a Catalog, asked: &str) -> Option<Found<'a, PreparedQuery>> {
    if let Some(query) = catalog.record::<PreparedQuery>(&asked.to_lowercase()) {
        return Some(query);
    }
    let asked = asked.to_lowercase();
    let all = || catalog.records::<PreparedQuery>();
    let named = all()
        .find(|it| !it.is_template() && !it.name.is_empty() && it.name.to_lowercase() == asked);
    named.or_else(|| {
        all()
            .filter(|it| it.is_template() && asked.starts_with(&it.name.to_lowercase()))
            .max_by_key(|it| it.name.len())
    })
}

/// The query for the name that is asked: as it is, or made of its template.
///
/// # Errors
/// When the template is wrong.
pub fn rendered(query: &PreparedQuery, asked: &str) -> Result<PreparedQuery, TemplateError> {
    if !query.is_template() {
        return Ok(query.clone());
    }
    let template = Template::of(query, asked)?;
    let text = |text: &String| template.fill(text);
    let texts = |list: &[String]| list.iter().map(text).collect::<Result<Vec<_>, _>>();
    let map = |map: &FlatMap<String>| {
        map.iter().map(|(key, it)| Ok((key, template.fill(it)?))).collect::<Result<_, _>>()
    };
    let mut made = query.clone();
    let service = &mut made.service;
    service.service = text(&service.service)?;
    service.near = text(&service.near)?;
    service.tags = texts(&service.tags)?;
    service.ignore_check_ids = texts(&service.ignore_check_ids)?;
    service.peer = text(&service.peer)?;
    for target in &mut service.failover.targets {
        target.peer = text(&target.peer)?;
        target.datacenter = text(&target.datacenter)?;
    }
    if query.template.remove_empty_tags {
        service.tags.retain(|tag| !tag.is_empty() && tag != "!");
    }
    service.node_meta = map(&service.node_meta)?;
    service.service_meta = map(&service.service_meta)?;
    service.failover.datacenters = texts(&service.failover.datacenters)?;
    Ok(made)
}

/// Checks a template as it is written.
///
/// # Errors
/// What is wrong with it.
pub fn check_template(query: &PreparedQuery) -> Result<(), TemplateError> {
    match query.template.kind.as_str() {
        "" => Ok(()),
        "name_prefix_match" => rendered(query, &query.name).map(|_| ()),
        other => Err(TemplateError::Kind(other.to_owned())),
    }
}

/// What a template's variables are for a name.
struct Template {
    full: String,
    prefix: String,
    suffix: String,
    /// What the regular expression found: the whole, then its groups.
    matches: Vec<String>,
}

impl Template {
    fn of(query: &PreparedQuery, asked: &str) -> Result<Self, TemplateError> {
        let expression = &query.template.regexp;
        let mut matches = Vec::new();
        if !expression.is_empty() {
            let pattern = pattern::compile(expression)
                .map_err(|why| TemplateError::Regexp { pattern: expression.clone(), why })?;
            if let Some(found) = pattern.captures(asked) {
                let groups = found.iter().map(|it| it.map_or("", |it| it.as_str()).to_owned());
                matches = groups.collect();
            }
        }
        let prefix = query.name.clone();
        let suffix = asked.get(prefix.len()..).unwrap_or_default().to_owned();
        Ok(Self { full: asked.to_owned(), prefix, suffix, matches })
    }

    fn fill(&self, text: &str) -> Result<String, TemplateError> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if filled.len() > FILLED_BYTES_MAX {
                return Err(TemplateError::TooLong);
            }
            // `$${` is `${` itself.
            if rest[..at].ends_with('$') {
                filled.push_str(&rest[..at - 1]);
                filled.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            filled.push_str(&rest[..at]);
            let inside = &rest[at + 2..];
            let end = inside.find('}').ok_or_else(|| TemplateError::Open(text.to_owned()))?;
            filled.push_str(self.value(inside[..end].trim())?);
            rest = &inside[end + 1..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, expression: &str) -> Result<&str, TemplateError> {
        let unknown = || {
            let end = expression.floor_char_boundary(EXPRESSION_BYTES_MAX);
            TemplateError::Unknown(expression[..end].to_owned())
        };
        match expression {
            "name.full" => Ok(&self.full),
            "name.prefix" => Ok(&self.prefix),
            "name.suffix" => Ok(&self.suffix),
            "agent.segment" => Ok(""),
            other => {
                let number = other.strip_prefix("match(").and_then(|it| it.strip_suffix(')'));
                let number: usize =
                    number.ok_or_else(unknown)?.trim().parse().map_err(|_| unknown())?;
                Ok(self.matches.get(number).map_or("", String::as_str))
            }
        }
    }
}

/// An instance that a query finds, with its node.
pub type QueriedInstance<'a> = (&'a Stored<Node>, &'a Stored<Instance>);

/// The instances that a query finds here, by node and then by id. Those with a critical check are left out, but for checks
/// that the query ignores.
#[must_use]
pub fn instances_of_query<'a>(
    catalog: &'a Catalog,
    query: &ServiceQuery,
) -> Vec<QueriedInstance<'a>> {
    if !query.peer.is_empty() {
        return Vec::new();
    }
    let service = Folded::new(&query.service);
    let fits = |it: &QueriedInstance<'_>| {
        has_tags(it.1, &query.tags)
            && has_all(it.0.meta.as_ref(), &query.node_meta)
            && has_all(it.1.meta.as_ref(), &query.service_meta)
            && is_healthy(catalog, it.0, it.1, query)
    };
    let with_node =
        |it: &'a Stored<Instance>| catalog.node(&it.node.folded()).map(|node| (&**node, it));
    if query.connect {
        return catalog
            .mesh_instances(&service)
            .filter_map(|it| with_node(it))
            .filter(fits)
            .collect();
    }
    catalog.instances_of_service(&service).filter_map(|it| with_node(it)).filter(fits).collect()
}

/// All tags, and none of those with `!` in front. Letter case does not matter.
fn has_tags(instance: &Instance, tags: &[String]) -> bool {
    let has = |tag: &str| instance.tags.iter().any(|own| own.to_lowercase() == tag.to_lowercase());
    tags.iter().all(|tag| match tag.strip_prefix('!') {
        Some(unwanted) => !has(unwanted),
        None => has(tag),
    })
}

fn has_all(meta: Option<&FlatMap<String>>, wanted: &FlatMap<String>) -> bool {
    let value = |key: &str| meta.and_then(|meta| meta.get(key));
    wanted.iter().all(|(key, wanted)| value(key).is_some_and(|it| it == wanted))
}

fn is_healthy(catalog: &Catalog, node: &Node, instance: &Instance, query: &ServiceQuery) -> bool {
    let name = node.name.folded();
    let of_node = catalog.checks_of_instance(&name, &ServiceId::default());
    let mut checks = of_node.chain(catalog.checks_of_instance(&name, &instance.id));
    checks.all(|check| {
        let is_ignored = query.ignore_check_ids.iter().any(|it| it == check.id.as_str());
        is_ignored
            || match check.status {
                CheckStatus::Passing => true,
                CheckStatus::Warning => !query.only_passing,
                CheckStatus::Critical => false,
            }
    })
}
