//! Routes of API gateways.

use super::defaults::META;
use super::gateways::{JWT_REQUIREMENT, REFERENCE, STATUS};
use crate::schema::{Kind, Schema, shown};

pub(super) static HTTP: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Parents", Kind::List(&REFERENCE)),
    shown("Rules", Kind::List(&RULE)),
    shown("Hostnames", Kind::Texts),
    META,
    shown("Status", Kind::Struct(&STATUS)),
]);

static RULE: Schema = Schema::new(&[
    shown("Filters", Kind::Struct(&FILTERS)),
    shown("ResponseFilters", Kind::Struct(&RESPONSE_FILTERS)),
    shown("Matches", Kind::List(&MATCH)),
    shown("Services", Kind::List(&SERVICE)),
]);

static FILTERS: Schema = Schema::new(&[
    shown("Headers", Kind::List(&HEADER_FILTER)),
    shown("URLRewrite", Kind::Given(&URL_REWRITE)),
    shown("RetryFilter", Kind::Given(&RETRY)),
    shown("TimeoutFilter", Kind::Given(&TIMEOUT)),
    shown("JWT", Kind::Given(&JWT_REQUIREMENT)),
]);

static RESPONSE_FILTERS: Schema = Schema::new(&[shown("Headers", Kind::List(&HEADER_FILTER))]);

static HEADER_FILTER: Schema = Schema::new(&[
    shown("Add", Kind::TextMap),
    shown("Remove", Kind::Texts),
    shown("Set", Kind::TextMap),
]);

static URL_REWRITE: Schema = Schema::new(&[shown("Path", Kind::Text)]);

static RETRY: Schema = Schema::new(&[
    shown("NumRetries", Kind::Integer),
    shown("RetryOn", Kind::Texts),
    shown("RetryOnStatusCodes", Kind::Integers),
    shown("RetryOnConnectFailure", Kind::Flag),
]);

static TIMEOUT: Schema = Schema::new(&[
    shown("RequestTimeout", Kind::Nanoseconds),
    shown("IdleTimeout", Kind::Nanoseconds),
]);

static MATCH: Schema = Schema::new(&[
    shown("Headers", Kind::List(&PART_MATCH)),
    shown("Method", Kind::Text),
    shown("Path", Kind::Struct(&PATH_MATCH)),
    shown("Query", Kind::List(&PART_MATCH)),
]);

static PART_MATCH: Schema = Schema::new(&[
    shown("Match", Kind::Text),
    shown("Name", Kind::Text),
    shown("Value", Kind::Text),
]);

static PATH_MATCH: Schema = Schema::new(&[shown("Match", Kind::Text), shown("Value", Kind::Text)]);

static SERVICE: Schema = Schema::new(&[
    shown("Name", Kind::Text),
    shown("Weight", Kind::Integer),
    shown("Filters", Kind::Struct(&FILTERS)),
    shown("ResponseFilters", Kind::Struct(&RESPONSE_FILTERS)),
]);

pub(super) static TCP: Schema = Schema::new(&[
    shown("Kind", Kind::Text),
    shown("Name", Kind::Text),
    shown("Parents", Kind::List(&REFERENCE)),
    shown("Services", Kind::List(&TCP_SERVICE)),
    META,
    shown("Status", Kind::Struct(&STATUS)),
]);

static TCP_SERVICE: Schema = Schema::new(&[shown("Name", Kind::Text)]);
