use model::go::{self, DurationError};
use model::{
    PreparedQuery, QueryFailover, QueryFailoverTarget, QueryTemplate, QueryTtl, ServiceQuery,
};
use registry::check_template;

use super::fields::Fields;
use super::{BadRequest, json};

/// Reads the body of `query` and `query/:id`.
pub(in super::super) fn query(body: &[u8]) -> Result<PreparedQuery, BadRequest> {
    let value = json::read(body)?;
    let mut fields = Fields::root(&value, "PreparedQuery")?;
    let mut query = PreparedQuery {
        id: fields.text("ID")?.to_lowercase(),
        name: fields.text("Name")?,
        session: fields.text("Session")?.into(),
        token: fields.text("Token")?.into(),
        ..PreparedQuery::default()
    };
    if let Some(mut template) = fields.fields("Template", "QueryTemplateOptions")? {
        query.template = QueryTemplate {
            kind: template.text("Type")?,
            regexp: template.text("Regexp")?,
            remove_empty_tags: template.flag("RemoveEmptyTags")?,
        };
        template.finish()?;
    }
    if let Some(service) = fields.fields("Service", "ServiceQuery")? {
        query.service = self::service(service)?;
    }
    if let Some(mut dns) = fields.fields("DNS", "QueryDNSOptions")? {
        query.dns_ttl = ttl(&dns.text("TTL")?)?;
        dns.finish()?;
    }
    fields.skip(&["CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    check(&query)?;
    Ok(query)
}

fn invalid(what: impl std::fmt::Display) -> BadRequest {
    BadRequest::internal(format!("Invalid prepared query: {what}"))
}

fn service(mut fields: Fields<'_>) -> Result<ServiceQuery, BadRequest> {
    let mut failover = QueryFailover::default();
    if let Some(mut given) = fields.fields("Failover", "QueryFailoverOptions")? {
        failover.nearest_n = given.integer("NearestN")?;
        failover.datacenters = given.texts("Datacenters")?;
        for mut target in given.list("Targets", "QueryFailoverTarget")? {
            failover.targets.push(QueryFailoverTarget {
                peer: target.text("Peer")?,
                datacenter: target.text("Datacenter")?,
            });
            target.skip(&["Partition", "Namespace"]);
            target.finish()?;
        }
        given.finish()?;
    }
    let group = fields.text("SamenessGroup")?;
    if !group.is_empty() {
        return Err(invalid("sameness groups are a Consul Enterprise feature"));
    }
    let query = ServiceQuery {
        service: fields.text("Service")?,
        peer: fields.text("Peer")?,
        failover,
        only_passing: fields.flag("OnlyPassing")?,
        ignore_check_ids: fields.texts("IgnoreCheckIDs")?,
        near: fields.text("Near")?,
        tags: fields.texts("Tags")?,
        node_meta: fields.text_map("NodeMeta")?.unwrap_or_default(),
        service_meta: fields.text_map("ServiceMeta")?.unwrap_or_default(),
        connect: fields.flag("Connect")?,
    };
    fields.skip(&["Partition", "Namespace"]);
    fields.finish()?;
    Ok(query)
}

fn ttl(text: &str) -> Result<Option<QueryTtl>, BadRequest> {
    if text.is_empty() {
        return Ok(None);
    }
    match go::parse_duration(text) {
        Ok(time) => Ok(Some(QueryTtl { text: text.to_owned(), time })),
        Err(DurationError::Negative(_)) => Err(invalid(format!("DNS TTL '{text}', must be >=0"))),
        Err(error) => Err(invalid(format!("Bad DNS TTL '{text}': {error}"))),
    }
}

/// Most bytes of a text of a query, and most items of its lists: a template fills each with the asked name.
const TEXT_BYTES_MAX: usize = 1024;
const ITEMS_MAX: usize = 64;
/// Most bytes of the regular expression of a template, which is compiled when it is asked.
const REGEXP_BYTES_MAX: usize = 512;

fn check_bounds(query: &PreparedQuery) -> Result<(), BadRequest> {
    let it = &query.service;
    let failover = &it.failover;
    let counts = [
        it.tags.len(),
        it.ignore_check_ids.len(),
        it.node_meta.iter().count(),
        it.service_meta.iter().count(),
        failover.datacenters.len(),
        failover.targets.len(),
    ];
    if counts.iter().any(|count| *count > ITEMS_MAX) {
        return Err(invalid(format!("a list has more than {ITEMS_MAX} items")));
    }
    let meta = it.node_meta.iter().chain(it.service_meta.iter());
    let texts = [&query.name, &it.service, &it.near, &it.peer]
        .into_iter()
        .chain(&it.tags)
        .chain(&it.ignore_check_ids)
        .chain(&failover.datacenters)
        .map(String::as_str)
        .chain(meta.flat_map(|(key, value)| [key, value.as_str()]));
    if texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(invalid(format!("a text has more than {TEXT_BYTES_MAX} bytes")));
    }
    if query.template.regexp.len() > REGEXP_BYTES_MAX {
        return Err(invalid(format!("Template.Regexp has more than {REGEXP_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn check(query: &PreparedQuery) -> Result<(), BadRequest> {
    check_bounds(query)?;
    if !query.is_template() && query.name.is_empty() && query.session.is_empty() {
        return Err(invalid("Must be bound to a session"));
    }
    if query.token.reveal() == "<hidden>" {
        return Err(invalid(
            "Bad Token '<hidden>', it looks like a query definition with a redacted token was \
             submitted",
        ));
    }
    if query.service.service.is_empty() {
        return Err(invalid("Must provide a Service name to query"));
    }
    let failover = &query.service.failover;
    if failover.nearest_n < 0 {
        return Err(invalid(format!("Bad NearestN '{}', must be >= 0", failover.nearest_n)));
    }
    let has_others = failover.nearest_n != 0 || !failover.datacenters.is_empty();
    if has_others && !failover.targets.is_empty() {
        return Err(invalid("Targets cannot be populated with NearestN or Datacenters"));
    }
    check_template(query).map_err(|error| invalid(format!("Bad template: {error}")))
}
