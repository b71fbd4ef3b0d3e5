//! Checks as they are declared: alone, inside of a service, or as the definition of a check in the catalog.

use std::sync::Arc;
use std::time::Duration;

use model::{Check, CheckDefinition, CheckStatus, CheckType, Origin};

use super::BadRequest;
use super::fields::Fields;
use crate::AgentInfo;

/// Most bytes of output that are kept of any check; a declaration can only lower it.
const OUTPUT_BYTES_MAX: u32 = 4096;

/// A check as a client declares it to the agent, not yet judged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct DeclaredCheck {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) service_id: String,
    notes: String,
    status: String,
    definition: CheckDefinition,
    limits: Limits,
}

/// Numbers of a definition before they are known to make sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Limits {
    failures_before_warning: i64,
    failures_before_critical: i64,
    output_bytes_max: i64,
}

impl DeclaredCheck {
    /// Reads the form of `agent/check/register`, which has its own fields for id and service.
    pub(super) fn read_alone(fields: &mut Fields<'_>) -> Result<Self, BadRequest> {
        let id = fields.text("ID")?;
        let service_id = fields.text_or("ServiceID", "service_id")?;
        fields.text("Token")?; // It is for syncing with a server, and there is none.
        Ok(Self { id, service_id, ..Self::read_common(fields)? })
    }

    /// Reads the form that stands inside of a service. It may name a service, but belongs to the one around it.
    pub(super) fn read_embedded(mut fields: Fields<'_>) -> Result<Self, BadRequest> {
        let id = fields.text("CheckID")?;
        fields.text("ServiceID")?;
        fields.text("service_id")?;
        let declared = Self { id, ..Self::read_common(&mut fields)? };
        fields.finish()?;
        Ok(declared)
    }

    fn read_common(fields: &mut Fields<'_>) -> Result<Self, BadRequest> {
        let (mut definition, limits) = read_definition(fields)?;
        if !definition.h2ping.is_empty() {
            let given =
                (fields.flag_if_given("H2PingUseTLS")?, fields.flag_if_given("h2ping_use_tls")?);
            definition.h2ping_use_tls = given.0.unwrap_or(true) && given.1.unwrap_or(true);
        }
        Ok(Self {
            name: fields.text("Name")?,
            notes: fields.text("Notes")?,
            status: fields.text("Status")?,
            definition,
            limits,
            ..Self::default()
        })
    }

    /// True when nothing was declared.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True when the status is one that there is, or none is given.
    pub(super) fn has_valid_status(&self) -> bool {
        self.status.is_empty() || CheckStatus::parse(&self.status).is_some()
    }

    /// Consul's rules about what may be declared together, in its order.
    pub(super) fn validate(&self) -> Result<(), BadRequest> {
        let it = &self.definition;
        let is_alias = !it.alias_node.is_empty() || !it.alias_service.is_empty();
        let has_interval = !it.interval.is_zero();
        let has_ttl = !it.ttl.is_zero();
        let needs_interval = !it.args.is_empty()
            || [&it.http, &it.tcp, &it.udp, &it.grpc, &it.h2ping, &it.os_service]
                .iter()
                .any(|target| !target.is_empty());
        let reason = if has_interval && has_ttl {
            "Interval and TTL cannot both be specified"
        } else if needs_interval && !has_interval {
            "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
        } else if is_alias && needs_interval {
            "Interval cannot be set for Alias checks"
        } else if is_alias && has_ttl {
            "TTL must be not be set for Alias checks"
        } else if !needs_interval && !is_alias && !has_ttl {
            "TTL must be > 0 for TTL checks"
        } else if self.limits.output_bytes_max < 0 {
            "MaxOutputMaxSize must be positive"
        } else if self.limits.failures_before_warning > self.limits.failures_before_critical {
            "FailuresBeforeWarning can't be higher than FailuresBeforeCritical"
        } else {
            return Ok(());
        };
        Err(BadRequest::new(format!("Invalid check: {reason}")))
    }

    /// Refuses what this agent cannot or may not run. An `os_service` check is let through: like Consul's Unix
    /// build, its runner says that it is not implemented.
    pub(super) fn require_runnable(&self, agent: &AgentInfo) -> Result<(), BadRequest> {
        if !self.definition.docker_container_id.is_empty() {
            return Err(BadRequest::unsupported("Invalid check: DockerContainerID of a check"));
        }
        if !self.definition.args.is_empty() && !agent.script_checks {
            return Err(BadRequest::internal(
                "Scripts are disabled on this agent from remote calls; \
                 to enable, configure 'enable_script_checks' to true",
            ));
        }
        Ok(())
    }

    /// The check of the agent's node that was declared. Its status must be valid.
    pub(super) fn into_check(mut self, id: String, agent: &AgentInfo) -> Check {
        let most = agent.settings.check_output_bytes_max.min(OUTPUT_BYTES_MAX);
        let bytes_max = &mut self.definition.output_bytes_max;
        // 0 stands for the most that there is, which needs no word.
        *bytes_max = match *bytes_max {
            0 if most == OUTPUT_BYTES_MAX => 0,
            0 => most,
            given => given.min(most),
        };
        Check {
            node: agent.node_name.clone(),
            id: id.into(),
            name: self.name,
            status: CheckStatus::parse(&self.status).unwrap_or_default(),
            notes: self.notes,
            service_id: self.service_id.into(),
            kind: self.definition.check_type().map_or("", CheckType::as_str).to_owned(),
            definition: Some(Arc::new(self.definition)),
            origin: Origin::Agent,
            ..Check::default()
        }
    }
}

/// Reads the definition of a check in the catalog, in which Consul ignores what it does not know; `None` when it
/// defines nothing.
pub(super) fn read_catalog_definition(
    mut fields: Fields<'_>,
) -> Result<Option<CheckDefinition>, BadRequest> {
    let (definition, _) = read_definition(&mut fields)?;
    if !fields.text("SessionName")?.is_empty() {
        return Err(BadRequest::unsupported("SessionName of a check"));
    }
    Ok(Some(definition).filter(|it| *it != CheckDefinition::default()))
}

fn read_definition(fields: &mut Fields<'_>) -> Result<(CheckDefinition, Limits), BadRequest> {
    let limits = Limits {
        failures_before_warning: fields.integer("FailuresBeforeWarning")?,
        failures_before_critical: fields.integer("FailuresBeforeCritical")?,
        output_bytes_max: fields.integer("OutputMaxSize")?,
    };
    let definition = CheckDefinition {
        http: fields.text("HTTP")?,
        header: fields.texts_map("Header")?,
        method: fields.text("Method")?,
        body: fields.text("Body")?,
        disable_redirects: fields.flag_or("DisableRedirects", "disable_redirects")?,
        tcp: fields.text("TCP")?,
        tcp_use_tls: fields.flag_or("TCPUseTLS", "tcp_use_tls")?,
        udp: fields.text("UDP")?,
        grpc: fields.text("GRPC")?,
        grpc_use_tls: fields.flag_or("GRPCUseTLS", "grpc_use_tls")?,
        h2ping: fields.text("H2PING")?,
        h2ping_use_tls: fields.flag_or("H2PingUseTLS", "h2ping_use_tls")?,
        tls_server_name: fields.text_or("TLSServerName", "tls_server_name")?,
        tls_skip_verify: fields.flag_or("TLSSkipVerify", "tls_skip_verify")?,
        args: read_args(fields)?,
        docker_container_id: fields.text_or("DockerContainerID", "docker_container_id")?,
        shell: fields.text("Shell")?,
        os_service: fields.text("OSService")?,
        alias_node: fields.text("AliasNode")?,
        alias_service: fields.text("AliasService")?,
        interval: fields.duration("Interval")?,
        timeout: fields.duration("Timeout")?,
        ttl: fields.duration("TTL")?,
        deregister_critical_service_after: read_deregister_after(fields)?,
        success_before_passing: count(fields.integer("SuccessBeforePassing")?),
        failures_before_warning: count(limits.failures_before_warning),
        failures_before_critical: count(limits.failures_before_critical),
        output_bytes_max: count(limits.output_bytes_max).min(OUTPUT_BYTES_MAX),
    };
    Ok((definition, limits))
}

/// The command, under the first of its names that gives any.
fn read_args(fields: &mut Fields<'_>) -> Result<Vec<String>, BadRequest> {
    let mut args = Vec::new();
    for name in ["ScriptArgs", "Args", "script_args"] {
        let given = fields.texts(name)?;
        if args.is_empty() {
            args = given;
        }
    }
    Ok(args)
}

fn read_deregister_after(fields: &mut Fields<'_>) -> Result<Duration, BadRequest> {
    let given = fields.duration_if_given("DeregisterCriticalServiceAfter")?;
    let alias = fields.duration("deregister_critical_service_after")?;
    Ok(given.unwrap_or(alias))
}

/// A count; a negative one does what zero does.
fn count(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}
