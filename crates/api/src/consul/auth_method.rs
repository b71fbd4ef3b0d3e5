//! What the configurations of auth methods say.

use std::collections::BTreeMap;

use acl::{ClaimRules, Leeway};
use jwt::{Algorithm, Key};
use model::go::{DurationError, parse_duration};
use serde_json::{Map, Value};

pub(super) const JWT: &str = "jwt";
pub(super) const KUBERNETES: &str = "kubernetes";

/// Whom a JWT auth method believes, and what.
pub(super) struct JwtConfig {
    pub(super) keys: Vec<Key>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) rules: ClaimRules,
}

/// Of OIDC logins in a browser alone.
const OIDC_ONLY: [&str; 6] = [
    "OIDCClientID",
    "OIDCClientSecret",
    "OIDCScopes",
    "OIDCACRValues",
    "AllowedRedirectURIs",
    "VerboseOIDCLogging",
];
/// Places where keys could be had from.
const ELSEWHERE: [&str; 4] = ["JWKSURL", "JWKSCACert", "OIDCDiscoveryURL", "OIDCDiscoveryCACert"];
const KNOWN: [&str; 9] = [
    "JWTValidationPubKeys",
    "JWTSupportedAlgs",
    "BoundIssuer",
    "BoundAudiences",
    "ClaimMappings",
    "ListClaimMappings",
    "ExpirationLeeway",
    "NotBeforeLeeway",
    "ClockSkewLeeway",
];

impl JwtConfig {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(config: &Value) -> Result<Self, String> {
        let fields = Config::of(config)?;
        if let Some(name) = OIDC_ONLY.into_iter().find(|it| fields.get(it).is_some()) {
            return Err(format!("'{name}' must not be set for type \"jwt\""));
        }
        if let Some(name) = ELSEWHERE.into_iter().find(|it| fields.get(it).is_some()) {
            return Err(format!(
                "'{name}' is not supported by this version of Leno; give the keys themselves in 'JWTValidationPubKeys'"
            ));
        }
        fields.require_known(&[&KNOWN, &OIDC_ONLY, &ELSEWHERE])?;
        let texts = fields.texts("JWTValidationPubKeys")?;
        if texts.is_empty() {
            return Err("'JWTValidationPubKeys' must be set for type \"jwt\"".to_owned());
        }
        let key = |(at, text): (usize, &String)| {
            Key::from_pem(text).map_err(|error| format!("JWTValidationPubKeys[{at}]: {error}"))
        };
        let keys = texts.iter().enumerate().map(key).collect::<Result<_, _>>()?;
        let names = fields.texts("JWTSupportedAlgs")?;
        let algorithm = |name: &String| {
            Algorithm::from_name(name)
                .ok_or_else(|| format!("JWTSupportedAlgs: invalid algorithm {name:?}"))
        };
        let mut algorithms = names.iter().map(algorithm).collect::<Result<Vec<_>, _>>()?;
        if algorithms.is_empty() {
            algorithms.push(Algorithm::Rs256);
        }
        let rules = ClaimRules {
            bound_issuer: fields.text("BoundIssuer")?,
            bound_audiences: fields.texts("BoundAudiences")?,
            claim_mappings: fields.text_map("ClaimMappings")?,
            list_claim_mappings: fields.text_map("ListClaimMappings")?,
            expiration_leeway: fields.leeway("ExpirationLeeway")?,
            not_before_leeway: fields.leeway("NotBeforeLeeway")?,
            clock_skew_leeway: fields.leeway("ClockSkewLeeway")?,
        };
        rules.check().map_err(|error| error.to_string())?;
        Ok(Self { keys, algorithms, rules })
    }
}

/// What a Kubernetes auth method is told. Its logins are not verified here.
pub(super) struct KubernetesConfig;

impl KubernetesConfig {
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(config: &Value) -> Result<(), String> {
        let fields = Config::of(config)?;
        let known = ["Host", "CACert", "ServiceAccountJWT"];
        fields.require_known(&[&known, &["MapNamespaces", "ConsulNamespacePrefix"]])?;
        match known.into_iter().find(|it| fields.text(it).is_ok_and(|text| text.is_empty())) {
            Some(name) => Err(format!("Config.{name} is required")),
            None => known.into_iter().try_for_each(|name| fields.text(name).map(|_| ())),
        }
    }
}

/// Fields by name, in any letter case; those that say nothing are not there.
struct Config<'a>(&'a Map<String, Value>);

impl<'a> Config<'a> {
    fn of(config: &'a Value) -> Result<Self, String> {
        config.as_object().map(Self).ok_or_else(|| "Config is not an object".to_owned())
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|it| it.1).filter(|it| !is_blank(it))
    }

    fn require_known(&self, known: &[&[&str]]) -> Result<(), String> {
        let is_known =
            |key: &str| known.iter().flat_map(|it| *it).any(|it| it.eq_ignore_ascii_case(key));
        match self.0.keys().find(|key| !is_known(key)) {
            Some(key) => Err(format!("Config has no field {key:?}")),
            None => Ok(()),
        }
    }

    fn text(&self, name: &str) -> Result<String, String> {
        match self.get(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(format!("Config.{name} is not a string")),
        }
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let wrong = || format!("Config.{name} is not a list of strings");
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let texts = items.iter().map(|it| it.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or_else(wrong)
            }
            Some(_) => Err(wrong()),
        }
    }

    fn text_map(&self, name: &str) -> Result<BTreeMap<String, String>, String> {
        let wrong = || format!("Config.{name} is not a map of strings");
        match self.get(name) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(pairs)) => {
                let pairs =
                    pairs.iter().map(|(key, it)| Some((key.clone(), it.as_str()?.to_owned())));
                pairs.collect::<Option<_>>().ok_or_else(wrong)
            }
            Some(_) => Err(wrong()),
        }
    }

    /// A number of nanoseconds, or a text in Go's notation.
    fn leeway(&self, name: &str) -> Result<Leeway, String> {
        let wrong = || format!("Config.{name} is no duration");
        let nanoseconds = match self.get(name) {
            None => 0,
            Some(Value::Number(number)) => number.as_i64().ok_or_else(wrong)?,
            Some(Value::String(text)) => match parse_duration(text) {
                Ok(duration) => i64::try_from(duration.as_nanos()).map_err(|_| wrong())?,
                Err(DurationError::Negative(_)) => -1,
                Err(_) => return Err(wrong()),
            },
            Some(_) => return Err(wrong()),
        };
        Ok(Leeway::from_nanoseconds(nanoseconds))
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(pairs) => pairs.is_empty(),
    }
}
