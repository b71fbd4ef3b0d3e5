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

/// Reads the body of `operator/autopilot/configuration`: fields in the names of the API.
pub(in super::super) fn autopilot(body: &[u8]) -> Result<Map<String, Value>, BadRequest> {
    let value = json::read(body)?;
    let mut fields = Fields::root(&value, "AutopilotConfiguration")?;
    let mut config = Map::new();
    for name in ["CleanupDeadServers", "DisableUpgradeMigration"] {
        config.insert(name.to_owned(), fields.flag(name)?.into());
    }
    for name in ["MaxTrailingLogs", "MinQuorum"] {
        let number = u64::try_from(fields.integer(name)?)
            .map_err(|_| BadRequest::undecodable(format!("{name} is below zero")))?;
        config.insert(name.to_owned(), number.into());
    }
    for name in ["LastContactThreshold", "ServerStabilizationTime"] {
        let time = model::go::format_duration(fields.duration(name)?);
        config.insert(name.to_owned(), time.into());
    }
    for name in ["RedundancyZoneTag", "UpgradeVersionTag"] {
        config.insert(name.to_owned(), fields.text(name)?.into());
    }
    fields.skip(&["CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    Ok(config)
}
