//! The claims of a web token (RFC 7519) whose signature somebody else has verified: whether they hold now and here, and
//! what a login gets from them.

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;
use serde_json::Value;

/// What an auth method says about claims.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClaimRules {
    /// Who must have issued the token; anybody if empty.
    pub bound_issuer: String,
    /// For whom it must be, any of these. If there are none, it must be for nobody in particular.
    pub bound_audiences: Vec<String>,
    /// From a claim (a name, or a JSON pointer if it begins with `/`) to the name of a value.
    pub claim_mappings: BTreeMap<String, String>,
    /// From a claim to the name of a list.
    pub list_claim_mappings: BTreeMap<String, String>,
    /// How long a token without an end holds from its beginning; 150 s by default.
    pub expiration_leeway: Leeway,
    /// How long before its end a token without a beginning holds; 150 s by default.
    pub not_before_leeway: Leeway,
    /// How far clocks may be apart; 60 s by default.
    pub clock_skew_leeway: Leeway,
}

/// A time that is allowed on top.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Leeway {
    /// As long as documented.
    #[default]
    Default,
    /// None.
    None,
    /// So many seconds.
    Seconds(u32),
}

impl Leeway {
    /// As configurations have it: 0 is the default, less is none. Parts of seconds are cut off.
    #[must_use]
    pub fn from_nanoseconds(nanoseconds: i64) -> Self {
        match u32::try_from(nanoseconds / 1_000_000_000) {
            _ if nanoseconds == 0 => Self::Default,
            Ok(seconds) if nanoseconds > 0 => Self::Seconds(seconds),
            Ok(_) => Self::None,
            Err(_) if nanoseconds > 0 => Self::Seconds(u32::MAX),
            Err(_) => Self::None,
        }
    }

    fn seconds(self, default: u32) -> i64 {
        i64::from(match self {
            Self::Default => default,
            Self::None => 0,
            Self::Seconds(seconds) => seconds,
        })
    }
}

/// In seconds, for tokens without an end or without a beginning.
const CLAIM_LEEWAY_SECONDS: u32 = 150;
/// In seconds, between clocks.
const CLOCK_SKEW_SECONDS: u32 = 60;

/// What a login gets from its claims.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// `value.*` in selectors and bind names.
    pub values: BTreeMap<String, String>,
    /// `list.*` in selectors.
    pub lists: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// The variables for bind names: `value.name` for each value, empty if the claim was not there.
    #[must_use]
    pub fn variables(&self, rules: &ClaimRules) -> BTreeMap<String, String> {
        let value = |name| self.values.get(name).cloned().unwrap_or_default();
        rules.claim_mappings.values().map(|name| (format!("value.{name}"), value(name))).collect()
    }
}

/// Why claims give no login.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClaimError {
    /// The token's content is no object.
    #[error("failed to unmarshal claims: the token's content is not an object")]
    NotAnObject,
    /// A claim that this room reads is of another kind.
    #[error("failed to unmarshal claims: {0:?} is not {1}")]
    Kind(&'static str, &'static str),
    /// Neither beginning nor end.
    #[error("no issue time, notbefore, or expiration time encoded in token")]
    NoTime,
    /// Another issuer.
    #[error("error validating claims: validation failed, invalid issuer claim (iss)")]
    Issuer,
    /// Too early.
    #[error("error validating claims: validation failed, token not valid yet (nbf)")]
    NotYetValid,
    /// Too late.
    #[error("error validating claims: validation failed, token is expired (exp)")]
    Expired,
    /// From the future.
    #[error("error validating claims: validation field, token issued in the future (iat)")]
    IssuedInTheFuture,
    /// For somebody, though nobody is expected.
    #[error("error validating claims: audience claim found in JWT but no audiences are bound")]
    AudienceNotBound,
    /// For others.
    #[error("error validating claims: aud claim does not match any bound audience")]
    Audience,
    /// A claim that is to be a value is an object or a list.
    #[error("error converting claim '{0}' to string: it is {1}")]
    NotAText(String, &'static str),
    /// A claim that is to be a list is an object.
    #[error("{0:?} list claim could not be converted to string list")]
    NotAList(String),
    /// Something in a list is an object, a list or null.
    #[error("value {1} in {0:?} list claim could not be parsed as string")]
    NotATextInList(String, String),
    /// Two claims become the same value or list.
    #[error("{0} contains multiple mappings for key {1:?}")]
    MappedTwice(&'static str, String),
}

impl ClaimRules {
    /// Whether no two claims become the same.
    pub fn check(&self) -> Result<(), ClaimError> {
        let mappings = [
            ("ClaimMappings", &self.claim_mappings),
            ("ListClaimMappings", &self.list_claim_mappings),
        ];
        for (field, mappings) in mappings {
            let mut seen = BTreeSet::new();
            if let Some(twice) = mappings.values().find(|it| !seen.insert(*it)) {
                return Err(ClaimError::MappedTwice(field, twice.clone()));
            }
        }
        Ok(())
    }
}

/// What a login with these verified claims gets, if they hold at `now`.
pub fn identity(
    claims: &Value,
    rules: &ClaimRules,
    now: Timestamp,
) -> Result<Identity, ClaimError> {
    check_claims(claims, rules, now)?;
    map_claims(claims, rules)
}

/// Whether claims hold at `now`: issuer, times, audience.
///
/// A token without an end ends a leeway after its beginning; one without a beginning begins when it was issued, or a leeway
/// before its end.
pub fn check_claims(claims: &Value, rules: &ClaimRules, now: Timestamp) -> Result<(), ClaimError> {
    if !claims.is_object() {
        return Err(ClaimError::NotAnObject);
    }
    let issuer = match &claims["iss"] {
        Value::Null => "",
        Value::String(issuer) => issuer,
        _ => return Err(ClaimError::Kind("iss", "a string")),
    };
    let issued = seconds_of(claims, "iat")?;
    let mut expires = seconds_of(claims, "exp")?;
    let mut begins = seconds_of(claims, "nbf")?;
    if issued == 0 && expires == 0 && begins == 0 {
        return Err(ClaimError::NoTime);
    }
    if expires == 0 {
        let leeway = rules.expiration_leeway.seconds(CLAIM_LEEWAY_SECONDS);
        expires = issued.max(begins).saturating_add(leeway);
    }
    if begins == 0 {
        let leeway = rules.not_before_leeway.seconds(CLAIM_LEEWAY_SECONDS);
        begins = if issued == 0 { expires.saturating_sub(leeway) } else { issued };
    }
    if !rules.bound_issuer.is_empty() && issuer != rules.bound_issuer {
        return Err(ClaimError::Issuer);
    }
    let skew_ms = rules.clock_skew_leeway.seconds(CLOCK_SKEW_SECONDS).saturating_mul(1000);
    let now_ms = i64::try_from(now.0).unwrap_or(i64::MAX);
    let latest_ms = now_ms.saturating_add(skew_ms);
    if latest_ms < begins.saturating_mul(1000) {
        return Err(ClaimError::NotYetValid);
    }
    if now_ms.saturating_sub(skew_ms) > expires.saturating_mul(1000) {
        return Err(ClaimError::Expired);
    }
    if latest_ms < issued.saturating_mul(1000) {
        return Err(ClaimError::IssuedInTheFuture);
    }
    check_audience(claims, &rules.bound_audiences)
}

/// A time in seconds since the Unix epoch, its fraction cut off; 0 if there is none.
fn seconds_of(claims: &Value, name: &'static str) -> Result<i64, ClaimError> {
    match &claims[name] {
        Value::Null => Ok(0),
        Value::Number(number) => Ok(integer_of(number)),
        _ => Err(ClaimError::Kind(name, "a number")),
    }
}

/// Without what is behind the point; the nearest there is if it is out of range.
fn integer_of(number: &serde_json::Number) -> i64 {
    match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => integer,
        (None, Some(float)) => float as i64,
        (None, None) => 0,
    }
}

fn check_audience(claims: &Value, bound: &[String]) -> Result<(), ClaimError> {
    let wrong = ClaimError::Kind("aud", "a string or a list of strings");
    let audiences: Vec<&str> = match &claims["aud"] {
        Value::Null => Vec::new(),
        Value::String(audience) => vec![audience],
        Value::Array(list) => list.iter().map(Value::as_str).collect::<Option<_>>().ok_or(wrong)?,
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => return Err(wrong),
    };
    if bound.is_empty() {
        return if audiences.is_empty() { Ok(()) } else { Err(ClaimError::AudienceNotBound) };
    }
    match bound.iter().any(|it| audiences.contains(&it.as_str())) {
        true => Ok(()),
        false => Err(ClaimError::Audience),
    }
}

/// The values and lists that the mappings make of claims; a claim that is not there makes none.
///
/// Strings stay, booleans are `true` or `false`, of numbers the whole part is taken. A list may also be one such value.
pub fn map_claims(claims: &Value, rules: &ClaimRules) -> Result<Identity, ClaimError> {
    let mut identity = Identity::default();
    for (claim, name) in &rules.claim_mappings {
        let Some(value) = find_claim(claims, claim) else { continue };
        let text =
            text_of(value).ok_or_else(|| ClaimError::NotAText(claim.clone(), hcl::kind(value)))?;
        identity.values.insert(name.clone(), text);
    }
    for (claim, name) in &rules.list_claim_mappings {
        let list = match find_claim(claims, claim) {
            None => continue,
            Some(Value::Array(list)) => list.as_slice(),
            Some(Value::Object(_)) => return Err(ClaimError::NotAList(claim.clone())),
            Some(value) => std::slice::from_ref(value),
        };
        let mut texts = Vec::new();
        for value in list {
            let text = text_of(value)
                .ok_or_else(|| ClaimError::NotATextInList(claim.clone(), value.to_string()))?;
            if !text.is_empty() {
                texts.push(text);
            }
        }
        identity.lists.insert(name.clone(), texts);
    }
    Ok(identity)
}

fn find_claim<'a>(claims: &'a Value, claim: &str) -> Option<&'a Value> {
    let found = if claim.starts_with('/') { claims.pointer(claim) } else { claims.get(claim) };
    found.filter(|it| !it.is_null())
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(it) => Some(it.to_string()),
        Value::Number(number) => Some(integer_of(number).to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
