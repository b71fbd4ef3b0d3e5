use serde_json::{Map, Value};

use super::fields::Fields;
use super::{BadRequest, json};

/// How the certificate authority is to be.
#[derive(Debug)]
pub(in super::super) struct CaConfiguration {
    /// Who issues; empty for the one that there is.
    pub(in super::super) provider: String,
    /// What the provider is told.
    pub(in super::super) config: Map<String, Value>,
}

/// Reads the body of `connect/ca/configuration`.
pub(in super::super) fn ca_configuration(body: &[u8]) -> Result<CaConfiguration, BadRequest> {
    let value = json::read(body)?;
    let mut fields = Fields::root(&value, "CAConfiguration")?;
    let provider = fields.text("Provider")?;
    let config = match fields.take("Config") {
        Some(Value::Object(config)) => config.clone(),
        _ => Map::new(),
    };
    fields.skip(&["State", "ForceWithoutCrossSigning", "CreateIndex", "ModifyIndex", "ClusterID"]);
    fields.finish()?;
    Ok(CaConfiguration { provider, config })
}
