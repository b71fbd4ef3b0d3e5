//! `leno proxies`.

use std::process::ExitCode;

use anyhow::Context;
use control::door::proxies::ProxyRow;

use crate::args::ListArguments;
use crate::client::AgentAt;
use crate::output::print_rows;
use crate::workloads::ago;

pub(crate) async fn list(arguments: ListArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&arguments.connection)?;
    let value = agent.get_json("/leno/v1/proxies").await?;
    let rows: Vec<ProxyRow> = serde_json::from_value(value.clone())
        .with_context(|| format!("{agent} answered something else"))?;
    let header = [
        "proxy", "state", "address", "since", "heard", "revision", "behind", "last ack", "p99 ack",
        "version", "trouble",
    ];
    print_rows(arguments.output, &header, rows.iter().map(row).collect(), &value)?;
    Ok(ExitCode::SUCCESS)
}

fn row(it: &ProxyRow) -> Vec<String> {
    let ms = |it: Option<f64>| it.map_or_else(|| "-".to_owned(), |it| format!("{it:.1} ms"));
    let own = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    vec![
        it.name.clone(),
        it.state.clone(),
        own(&it.address),
        ago(it.since_ms),
        it.heard_ms.map_or_else(|| "-".to_owned(), ago),
        it.acknowledged.to_string(),
        it.behind.to_string(),
        ms(it.acknowledge_ms),
        ms(it.acknowledge_p99_ms),
        own(&it.version),
        it.trouble.clone(),
    ]
}
