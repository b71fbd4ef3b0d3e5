//! What a document's workload means for processes, the registry and `recovery`: translation, without deciding anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::workload::{
    CountOrPercent, META_COPY, META_WORKLOAD, OnAgentExit, Probe, RestartPolicy, Rollout, Strategy,
    WorkloadKind, WorkloadSpec,
};
use model::{
    Check, CheckDefinition, CheckId, CheckStatus, FlatMap, Instance, NodeName, Origin, RolloutSpec,
    ServiceId, Weights,
};
use recovery::{Amount, CopyId, Policy, RestartLimits, Step};
use runtime::{EndRecord, Identity, ProcessSpec, ResourceLimits};

use super::name::{MARK, Mark, WorkloadName};

/// How long a rollout waits for requests to judge it by, beyond what it takes anyway, in milliseconds; then checks and time
/// decide. Who deploys what nobody calls waits for it.
const EVIDENCE_MS: u64 = 20_000;

/// One copy, as it is or is to be.
#[derive(Clone, Debug)]
pub(super) struct CopyPlan {
    pub workload: WorkloadName,
    pub copy: CopyId,
    pub spec: Arc<WorkloadSpec>,
    pub node: NodeName,
    pub node_id: String,
    /// The address that it is registered with.
    pub address: String,
    pub port: Option<u16>,
    /// The next agent can know the process again.
    pub can_survive: bool,
    /// Where its end is written down, if it is a try of a job.
    pub record: Option<EndRecord>,
}

impl CopyPlan {
    /// It goes on without the agent.
    pub(super) fn survives(&self) -> bool {
        self.can_survive && self.spec.on_agent_exit == OnAgentExit::Keep
    }

    pub(super) fn id(&self) -> ServiceId {
        self.workload.instance(self.copy)
    }

    fn mark(&self) -> Mark {
        Mark {
            node_id: self.node_id.clone(),
            workload: self.workload.clone(),
            copy: self.copy,
            port: self.port,
        }
    }

    /// The variables that it is given and asks for.
    fn environment(&self) -> BTreeMap<String, String> {
        let mut given = BTreeMap::from([
            ("LENO_ADDRESS", self.address.clone()),
            ("LENO_WORKLOAD", self.workload.name.clone()),
            ("LENO_NAMESPACE", self.workload.namespace.clone()),
            ("LENO_REPLICA", self.copy.slot.to_string()),
            ("LENO_VERSION", self.spec.version.clone()),
        ]);
        if let Some(port) = self.port {
            given.insert("PORT", port.to_string());
        }
        let given = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut all = self.spec.environment(&given);
        all.insert(MARK.to_owned(), self.mark().to_string());
        all
    }

    /// The process to start, with its output in `output`.
    ///
    /// # Errors
    /// When its user or group is not known.
    pub(super) fn process(&self, output: &Path) -> Result<ProcessSpec, String> {
        let environment = self.environment();
        let find = |name: &str| environment.get(name).map(String::as_str);
        let mut words = self.spec.command.arguments(find).into_iter();
        let identity = self.spec.run_as.as_ref();
        let identity =
            identity.map(|it| Identity::find(&it.user, it.group.as_deref())).transpose()?;
        let limits = &self.spec.limits;
        Ok(ProcessSpec {
            program: words.next().unwrap_or_default().into(),
            arguments: words.map(Into::into).collect(),
            environment,
            working_dir: working_dir(&self.spec).map(Path::to_owned),
            identity,
            limits: ResourceLimits {
                open_files: limits.open_files,
                processes: limits.processes.map(u64::from),
                data: limits.memory_bytes,
                core: limits.core_bytes,
            },
            output: output.to_owned(),
            survives: self.survives(),
            record: self.record.clone(),
            // It is made just before the start.
            group: None,
        })
    }

    /// What it is registered as, with this weight; `None` when it is not to be.
    pub(super) fn instance(&self, weight: u16) -> Option<Instance> {
        let service = self.spec.service.as_ref()?;
        let own = [
            ("version", self.spec.version.clone()),
            (META_WORKLOAD, format!("{}/{}", self.workload.namespace, self.workload.name)),
            (META_COPY, self.copy.to_string()),
        ];
        let asked = service.meta.iter().map(|(key, value)| (key, value.clone()));
        Some(Instance {
            node: self.node.clone(),
            id: self.id(),
            service: service.name.clone(),
            tags: service.tags.clone(),
            address: self.address.clone(),
            port: self.port.unwrap_or_default(),
            meta: Some(asked.chain(own).collect::<FlatMap<String>>()),
            weights: Weights { passing: weight, warning: weight },
            origin: Origin::Agent,
            ..Instance::default()
        })
    }

    /// Id of the check that says whether its process runs.
    pub(super) fn process_check(&self) -> CheckId {
        format!("process:{}", self.id()).into()
    }

    /// The checks that it is registered with: that its process runs, and those that the document asks for.
    pub(super) fn checks(&self) -> Vec<Check> {
        let process = Check {
            node: self.node.clone(),
            id: self.process_check(),
            name: "Process".into(),
            status: CheckStatus::Critical,
            output: "not started yet".into(),
            service_id: self.id(),
            kind: "process".into(),
            origin: Origin::Agent,
            ..Check::default()
        };
        let asked = self.spec.checks.iter().enumerate().map(|(idx, check)| {
            let host = if self.address.contains(':') {
                format!("[{}]", self.address)
            } else {
                self.address.clone()
            };
            let place = format!("{host}:{}", self.port.unwrap_or_default());
            let mut definition = CheckDefinition {
                interval: check.interval,
                timeout: check.timeout,
                success_before_passing: check.success_threshold,
                failures_before_critical: check.failure_threshold,
                ..CheckDefinition::default()
            };
            let kind = match &check.probe {
                Probe::Http(path) => {
                    definition.http = format!("http://{place}{path}");
                    "http"
                }
                Probe::Tcp => {
                    definition.tcp = place;
                    "tcp"
                }
                Probe::Grpc(service) if service.is_empty() => {
                    definition.grpc = place;
                    "grpc"
                }
                Probe::Grpc(service) => {
                    definition.grpc = format!("{place}/{service}");
                    "grpc"
                }
                Probe::Command(command) => {
                    let environment = self.environment();
                    definition.args =
                        command.arguments(|name| environment.get(name).map(String::as_str));
                    "script"
                }
            };
            Check {
                node: self.node.clone(),
                id: format!("service:{}:{}", self.id(), idx + 1).into(),
                name: format!("{kind} check of {}", self.workload),
                service_id: self.id(),
                kind: kind.into(),
                definition: Some(Arc::new(definition)),
                origin: Origin::Agent,
                ..Check::default()
            }
        });
        std::iter::once(process).chain(asked).collect()
    }
}

fn working_dir(spec: &WorkloadSpec) -> Option<&Path> {
    (!spec.working_dir.is_empty()).then(|| Path::new(&spec.working_dir))
}

/// What keeps a workload from being started on this machine, each with its field; empty when nothing does.
///
/// `port_is_ours`: a copy of its own may have the port that it asks for.
pub(super) fn obstacles(
    spec: &WorkloadSpec,
    address: &str,
    port_is_ours: bool,
    scripts_may_run: bool,
) -> Vec<String> {
    let mut found = Vec::new();
    let folder = working_dir(spec);
    if let Some(folder) = folder.filter(|it| !it.is_dir()) {
        found.push(format!("spec.workingDir: {} is not a folder", folder.display()));
    }
    let words = spec.command.arguments(|_| None);
    // What begins with a reference is known when it is started.
    if let Some(program) = words.first().filter(|it| !it.is_empty() && !it.contains('$')) {
        let own = spec.env.iter().rev().find(|it| it.name == "PATH").map(|it| it.value.clone());
        let path = own.or_else(|| std::env::var("PATH").ok()).unwrap_or_default();
        if let Err(error) = runtime::find_program(Path::new(program), folder, &path) {
            found.push(format!("spec.command: the program {program:?} cannot be run: {error}"));
        }
    }
    if let Some(run_as) = &spec.run_as
        && let Err(error) = Identity::find(&run_as.user, run_as.group.as_deref())
    {
        found.push(format!("spec.user: {error}"));
    }
    if let model::workload::PortChoice::Fixed(port) = spec.port
        && !port_is_ours
        && let Err(error) = std::net::TcpListener::bind((address, port))
    {
        let error = runtime::naming_port_owner(port, error);
        found.push(format!("spec.port: {port} on {address} cannot be had: {error}"));
    }
    let runs_scripts = spec.checks.iter().any(|it| matches!(it.probe, Probe::Command(_)));
    if runs_scripts && spec.run_as.is_some() {
        let text = "spec.checks: a check that runs a command would run as the agent's user, not as spec.user; use http, tcp or grpc";
        found.push(text.to_owned());
    }
    if runs_scripts && !scripts_may_run {
        let text =
            "spec.checks: a check runs a command, which needs an agent with --enable-script-checks";
        found.push(text.to_owned());
    }
    found
}

/// The restart rule of its copies. Whether a job is tried again is not decided for the copy that was a try.
pub(super) fn restart(spec: &WorkloadSpec) -> recovery::Restart {
    let restart = &spec.restart;
    let policy = match restart.policy {
        _ if spec.kind == WorkloadKind::Job => Policy::Never,
        RestartPolicy::Always => Policy::Always,
        RestartPolicy::OnFailure => Policy::OnFailure,
        RestartPolicy::Never => Policy::Never,
    };
    let limits = RestartLimits {
        first_delay: restart.delay,
        delay_max: restart.delay_max,
        sound_after: restart.reset_after,
        restarts_max: restart.restarts_max,
        failed_checks_max: restart.failed_checks_max,
        ..RestartLimits::default()
    };
    recovery::Restart::new(policy, limits)
}

/// What `recovery` is told of a job.
pub(super) fn job(spec: &WorkloadSpec) -> recovery::JobSpec {
    let restart = &spec.restart;
    recovery::JobSpec {
        retries_max: match restart.policy {
            RestartPolicy::Never => 0,
            RestartPolicy::Always | RestartPolicy::OnFailure => restart.restarts_max,
        },
        delay_ms: ms(restart.delay),
        delay_max_ms: ms(restart.delay_max),
        deadline_ms: spec.active_deadline.map(ms),
    }
}

fn ms(it: Duration) -> u64 {
    u64::try_from(it.as_millis()).unwrap_or(u64::MAX)
}

/// What `recovery` is told of a workload.
pub(super) fn rollout(spec: &WorkloadSpec, replicas: u32) -> recovery::Spec {
    let plan = rollout_plan(&spec.rollout);
    let deadlines = recovery::Deadlines {
        ready_ms: ms(spec.start_timeout),
        drain_ms: ms(spec.stop.drain_timeout),
        // Of what is not called there is no evidence to wait for.
        evidence_ms: if spec.service.is_some() { plan.deadlines.evidence_ms } else { 0 },
        ..plan.deadlines
    };
    recovery::Spec { replicas, deadlines, ..plan }
}

/// What `recovery` is told of requests that move between instances of others.
pub(super) fn traffic(spec: &RolloutSpec) -> recovery::Spec {
    recovery::Spec { replicas: 1, supervised: false, ..rollout_plan(&spec.plan) }
}

/// What all rollouts have.
fn rollout_plan(rollout: &Rollout) -> recovery::Spec {
    let Rollout { strategy, surge_max, unavailable_max, deadline, evidence } = rollout;
    let strategy = match strategy {
        Strategy::Rolling => recovery::Strategy::Rolling {
            max_surge: amount(*surge_max),
            max_unavailable: amount(*unavailable_max),
            bake_ms: 0,
        },
        Strategy::Canary { steps } => recovery::Strategy::Canary {
            steps: steps
                .iter()
                .map(|it| Step {
                    weight_percent: u32::from(it.weight_percent),
                    duration_ms: ms(it.duration),
                })
                .collect(),
            keep_old_ms: 0,
        },
        Strategy::BlueGreen { keep_old } => recovery::Strategy::BlueGreen {
            warm_ms: 0,
            watch_ms: ms(*keep_old),
            keep_old_ms: ms(*keep_old),
        },
    };
    let defaults = recovery::Spec::default();
    let share = |basis_points: u32| f64::from(basis_points) / 10_000.0;
    let slack = share(evidence.error_increase_max_basis_points);
    recovery::Spec {
        strategy,
        deadlines: recovery::Deadlines {
            progress_ms: ms(*deadline),
            evidence_ms: EVIDENCE_MS,
            ..defaults.deadlines
        },
        evidence: recovery::Settings {
            failures_slack: slack.clamp(0.000_1, 0.5),
            margin: (slack * 4.0).clamp(0.02, 0.9),
            latency_ratio: 1.0 + share(evidence.latency_increase_max_basis_points),
            requests_min: u64::from(evidence.requests_min),
            ..defaults.evidence
        },
        ..defaults
    }
}

fn amount(it: CountOrPercent) -> Amount {
    match it {
        CountOrPercent::Count(count) => Amount::Count(count),
        CountOrPercent::Percent(percent) => Amount::Percent(u32::from(percent)),
    }
}
