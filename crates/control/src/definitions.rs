//! Services and checks that the agent's configuration defines: registered at the start, and again when it is reloaded.

use std::collections::BTreeSet;

use api::{AgentInfo, WriteOutcome};
use model::{Record, RecordKey, Setting, Table};
use registry::{Command, RecordCondition, Rejection};
use serde::{Deserialize, Serialize};
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

impl Definitions {
    /// The commands that register them.
    ///
    /// # Errors
    /// What is wrong with each that is wrong, at least one.
    pub(crate) fn commands(&self, agent: &AgentInfo) -> Result<Vec<Command>, Vec<AgentError>> {
        let agent =
            AgentInfo { script_checks: agent.script_checks || self.script_checks, ..agent.clone() };
        let mut commands = Vec::new();
        let mut wrong = Vec::new();
        for service in &self.services {
            match api::service_of(service, &agent) {
                Ok(of_service) => commands.extend(of_service),
                Err(reason) => wrong.push(refused("service", service, reason)),
            }
        }
        for check in &self.checks {
            match api::check_of(check, &agent) {
                Ok(command) => commands.push(command),
                Err(reason) => wrong.push(refused("check", check, reason)),
            }
        }
        for command in &mut commands {
            if let Command::RegisterService(registration) = command {
                // A file says all of its checks.
                registration.replace_existing_checks = true;
            }
        }
        if wrong.is_empty() { Ok(commands) } else { Err(wrong) }
    }
}

fn first(errors: Vec<AgentError>) -> AgentError {
    errors.into_iter().next().expect("there is at least one")
}

/// What was registered for a configuration. Which that is stands in the store, so that a definition that is gone from the
/// files is removed also when that happened while no agent ran.
pub struct ConfiguredDefinitions {
    mesh: Mesh,
    agent: AgentInfo,
    /// What was told last; held while it is registered.
    told: tokio::sync::Mutex<Definitions>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Registered {
    services: BTreeSet<String>,
    checks: BTreeSet<String>,
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
        let configured =
            Self { mesh: mesh.clone(), agent: agent.clone(), told: tokio::sync::Mutex::default() };
        configured.replace(definitions).await?;
        Ok(configured)
    }

    /// Registers what was told last once more.
    pub(crate) async fn again(&self) -> Result<(), AgentError> {
        let told = self.told.lock().await;
        self.apply(&told).await
    }

    /// Registers what a configuration defines now, and removes what it defined before and does no more. Definitions are
    /// all read before the first is registered.
    ///
    /// # Errors
    /// When a definition is wrong: then nothing was changed. When the registry refuses one: then those before it are
    /// registered, and the next call goes on from there.
    pub async fn replace(&self, definitions: &Definitions) -> Result<(), AgentError> {
        let mut told = self.told.lock().await;
        self.apply(definitions).await?;
        *told = definitions.clone();
        Ok(())
    }

    async fn apply(&self, definitions: &Definitions) -> Result<(), AgentError> {
        let commands = definitions.commands(&self.agent).map_err(first)?;
        let wanted = Registered {
            services: commands.iter().filter_map(service_id).collect(),
            checks: commands.iter().filter_map(check_id).collect(),
        };
        let before = self.registered();
        // Noted before it is done, so that nothing is registered without being known.
        let both = Registered {
            services: before.services.union(&wanted.services).cloned().collect(),
            checks: before.checks.union(&wanted.checks).cloned().collect(),
        };
        self.note(&both).await?;
        for command in commands {
            let what = what_of(&command);
            self.run(command).await.map_err(|reason| AgentError::Define { what, reason })?;
        }
        self.remove(&before, &wanted).await?;
        self.note(&wanted).await
    }

    fn note_name(&self) -> String {
        format!("configured/{}", self.agent.node_name.folded())
    }

    fn registered(&self) -> Registered {
        let catalog = self.mesh.catalog();
        let stored = catalog.record::<Setting>(&self.note_name());
        let body = stored.map(|it| it.value.body.clone());
        body.and_then(|body| serde_json::from_value(body).ok()).unwrap_or_default()
    }

    async fn note(&self, registered: &Registered) -> Result<(), AgentError> {
        let name = self.note_name();
        let is_nothing = registered.services.is_empty() && registered.checks.is_empty();
        let command = if is_nothing {
            let key = RecordKey::new(Table::Setting, &name);
            Command::DeleteRecord { key, when: RecordCondition::Always }
        } else {
            let body = serde_json::to_value(registered).expect("it has text keys only");
            let record = Record::Setting(Setting { name, body });
            Command::PutRecord { record, when: RecordCondition::Always }
        };
        let what = "the list of what is configured".to_owned();
        self.run(command).await.map_err(|reason| AgentError::Define { what, reason })
    }

    async fn remove(&self, before: &Registered, wanted: &Registered) -> Result<(), AgentError> {
        let node = &self.agent.node_name;
        let services = before
            .services
            .difference(&wanted.services)
            .map(|id| Command::DeregisterService { node: node.clone(), id: id.as_str().into() });
        let checks = before
            .checks
            .difference(&wanted.checks)
            .map(|id| Command::DeregisterCheck { node: node.clone(), id: id.as_str().into() });
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

fn service_id(command: &Command) -> Option<String> {
    match command {
        Command::RegisterService(registration) => Some(registration.instance.id.to_string()),
        _ => None,
    }
}

fn check_id(command: &Command) -> Option<String> {
    match command {
        Command::RegisterCheck(check) => Some(check.id.to_string()),
        _ => None,
    }
}
