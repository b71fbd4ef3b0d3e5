//! Services and checks that the agent's configuration defines: registered at the start, and again when it is reloaded.

use std::collections::BTreeSet;

use api::{AgentInfo, WriteOutcome};
use model::{CheckId, ServiceId};
use registry::{Command, Rejection};
use serde_json::Value;

use crate::agent::AgentError;
use crate::mesh::Mesh;

/// What a configuration defines, in the form of Consul's HTTP API.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Definitions {
    /// Bodies of `agent/service/register`.
    pub services: Vec<Value>,
    /// Bodies of `agent/check/register`.
    pub checks: Vec<Value>,
    /// They may run programs, even where others may not register such checks.
    pub script_checks: bool,
}

/// What was registered for a configuration.
pub struct ConfiguredDefinitions {
    mesh: Mesh,
    agent: AgentInfo,
    registered: tokio::sync::Mutex<Registered>,
}

#[derive(Debug, Default)]
struct Registered {
    services: BTreeSet<ServiceId>,
    checks: BTreeSet<CheckId>,
}

impl ConfiguredDefinitions {
    /// Registers what a configuration defines.
    ///
    /// # Errors
    /// When a definition is wrong, or the registry refuses it; those before it are registered then.
    pub async fn register(
        mesh: &Mesh,
        agent: &AgentInfo,
        definitions: &Definitions,
    ) -> Result<Self, AgentError> {
        let configured = Self {
            mesh: mesh.clone(),
            agent: agent.clone(),
            registered: tokio::sync::Mutex::default(),
        };
        configured.replace(definitions).await?;
        Ok(configured)
    }

    /// Registers what a configuration defines now, and removes what it defined before and does no more. Definitions are
    /// all read before the first is registered.
    ///
    /// # Errors
    /// As [`ConfiguredDefinitions::register`].
    pub async fn replace(&self, definitions: &Definitions) -> Result<(), AgentError> {
        let mut registered = self.registered.lock().await;
        let agent = AgentInfo {
            script_checks: self.agent.script_checks || definitions.script_checks,
            ..self.agent.clone()
        };
        let mut commands = Vec::new();
        for service in &definitions.services {
            let read = api::service_of(service, &agent);
            commands.extend(read.map_err(|reason| refused("service", service, reason))?);
        }
        for check in &definitions.checks {
            let read = api::check_of(check, &agent);
            commands.push(read.map_err(|reason| refused("check", check, reason))?);
        }
        let now = Registered {
            services: commands.iter().filter_map(service_id).collect(),
            checks: commands.iter().filter_map(check_id).collect(),
        };
        for command in commands {
            let what = what_of(&command);
            self.run(command).await.map_err(|reason| AgentError::Define { what, reason })?;
        }
        let before = std::mem::replace(&mut *registered, now);
        self.remove(before, &registered).await
    }

    async fn remove(&self, before: Registered, now: &Registered) -> Result<(), AgentError> {
        let node = &self.agent.node_name;
        let services = before.services.difference(&now.services);
        let services =
            services.map(|id| Command::DeregisterService { node: node.clone(), id: id.clone() });
        let checks = before.checks.difference(&now.checks);
        let checks =
            checks.map(|id| Command::DeregisterCheck { node: node.clone(), id: id.clone() });
        for command in services.chain(checks) {
            let what = "the removal of a definition".to_owned();
            self.run(command).await.map_err(|reason| AgentError::Define { what, reason })?;
        }
        Ok(())
    }

    async fn run(&self, command: Command) -> Result<(), String> {
        match self.mesh.run(command).await {
            WriteOutcome::Done(..) => Ok(()),
            // Somebody else removed it before.
            WriteOutcome::Rejected(Rejection::UnknownService(_) | Rejection::UnknownCheck(_)) => {
                Ok(())
            }
            WriteOutcome::Rejected(rejection) => Err(rejection.to_string()),
            WriteOutcome::Failed(error) => Err(error),
        }
    }
}

fn refused(kind: &str, definition: &Value, reason: String) -> AgentError {
    let name = ["name", "Name", "id", "ID"].iter().find_map(|key| definition.get(key)?.as_str());
    AgentError::Define { what: format!("the {kind} {:?}", name.unwrap_or_default()), reason }
}

fn what_of(command: &Command) -> String {
    match command {
        Command::RegisterService(it) => format!("the service {:?}", it.instance.service),
        Command::RegisterCheck(check) => format!("the check {:?}", check.name),
        _ => "a definition".to_owned(),
    }
}

fn service_id(command: &Command) -> Option<ServiceId> {
    match command {
        Command::RegisterService(registration) => Some(registration.instance.id.clone()),
        _ => None,
    }
}

fn check_id(command: &Command) -> Option<CheckId> {
    match command {
        Command::RegisterCheck(check) => Some(check.id.clone()),
        _ => None,
    }
}
