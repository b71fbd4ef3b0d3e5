//! What concerns one agent: info, join, leave, force-leave, reload, maint, monitor.

use std::io::Write;

use anyhow::{Context, anyhow, bail, ensure};
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::Value;

use super::client::{Ask, Client};
use super::command::{Call, Command, Outcome, Reach};
use super::flags::{switch, text};
use super::print::field;
use crate::list::encoded;
use crate::output::{note, print_line};

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "info",
        synopsis: "Prints figures about the agent.",
        arguments: "[options]",
        flags: &[],
        reach: Reach::Agent,
        run: info,
    },
    Command {
        name: "join",
        synopsis: "Makes the agent join a cluster.",
        arguments: "[options] ADDRESS...",
        flags: &[switch("wan", "Join a server to the servers of another datacenter.")],
        reach: Reach::Agent,
        run: join,
    },
    Command {
        name: "leave",
        synopsis: "Makes the agent leave the cluster and end.",
        arguments: "[options]",
        flags: &[],
        reach: Reach::Agent,
        run: leave,
    },
    Command {
        name: "force-leave",
        synopsis: "Makes a member that has failed one that has left.",
        arguments: "[options] NODE",
        flags: &[
            switch("prune", "Remove it from the list of members as well."),
            switch("wan", "Remove it from the servers of all datacenters."),
        ],
        reach: Reach::Agent,
        run: force_leave,
    },
    Command {
        name: "reload",
        synopsis: "Makes the agent read its configuration again.",
        arguments: "[options]",
        flags: &[],
        reach: Reach::Agent,
        run: reload,
    },
    Command {
        name: "maint",
        synopsis: "Takes the node or a service out of use, or puts it back; or says what is out of use.",
        arguments: "[options]",
        flags: &[
            switch("disable", "Put it back into use."),
            switch("enable", "Take it out of use."),
            text("reason", "Why; with -enable."),
            text("service", "ID of a service; the whole node if left out."),
        ],
        reach: Reach::Agent,
        run: maint,
    },
    Command {
        name: "monitor",
        synopsis: "Prints what the agent logs, as it does.",
        arguments: "[options]",
        flags: &[
            switch("log-json", "Print JSON, one object a line."),
            text("log-level", "What is printed: trace, debug, info, warn or error."),
        ],
        reach: Reach::Agent,
        run: monitor,
    },
];

fn info(call: &Call) -> Outcome {
    let own = call.client()?.json(&Ask::get("/v1/agent/self"));
    let own = own.context("Error querying agent")?;
    let Some(groups) = own["Stats"].as_object() else {
        bail!("Agent response did not contain 'Stats' key: {own}");
    };
    let mut groups: Vec<(&String, &Value)> = groups.iter().collect();
    groups.sort_by_key(|(name, _)| *name);
    for (name, figures) in groups {
        print_line(&format!("{name}:"));
        let mut figures: Vec<(&String, &Value)> =
            figures.as_object().into_iter().flatten().collect();
        figures.sort_by_key(|(name, _)| *name);
        for (name, figure) in figures {
            let figure = figure.as_str().map_or_else(|| figure.to_string(), str::to_owned);
            print_line(&format!("\t{name} = {figure}"));
        }
    }
    Ok(0)
}

fn join(call: &Call) -> Outcome {
    let addresses = call.positional();
    if addresses.is_empty() {
        return call.wrong_use("At least one address to join must be specified.");
    }
    let client = call.client()?;
    let mut joined = 0;
    for address in addresses {
        let mut ask = Ask::put(format!("/v1/agent/join/{}", encoded(address)));
        if call.is("wan") {
            ask = ask.with("wan", 1);
        }
        match client.done(&ask) {
            Ok(_) => joined += 1,
            Err(error) => note(&format!("Error joining address '{address}': {error:#}")),
        }
    }
    ensure!(joined > 0, "Failed to join any nodes.");
    print_line(&format!("Successfully joined cluster by contacting {joined} nodes."));
    Ok(0)
}

fn leave(call: &Call) -> Outcome {
    call.no_arguments()?;
    call.client()?.done(&Ask::put("/v1/agent/leave")).context("Error leaving")?;
    print_line("Graceful leave complete");
    Ok(0)
}

fn force_leave(call: &Call) -> Outcome {
    let [node] = call.positional() else {
        return call.wrong_use("A single node name must be specified to force leave.");
    };
    let mut ask = Ask::put(format!("/v1/agent/force-leave/{}", encoded(node)));
    for name in ["prune", "wan"] {
        if call.is(name) {
            ask = ask.with(name, 1);
        }
    }
    call.client()?.done(&ask).context("Error force leaving")?;
    Ok(0)
}

fn reload(call: &Call) -> Outcome {
    call.client()?.done(&Ask::put("/v1/agent/reload")).context("Error reloading")?;
    print_line("Configuration reload triggered");
    Ok(0)
}

fn maint(call: &Call) -> Outcome {
    let (enable, disable) = (call.is("enable"), call.is("disable"));
    let (reason, service) = (call.text("reason"), call.text("service"));
    ensure!(!enable || !disable, "Only one of -enable or -disable may be provided");
    ensure!(enable || reason.is_empty(), "Reason may only be provided with -enable");
    ensure!(enable || disable || service.is_empty(), "Service requires either -enable or -disable");
    let client = call.client()?;
    let own = client.own()?;
    if !enable && !disable {
        return list_maintained(&client, field(&own["Config"], "NodeName"));
    }
    let (path, what) = match service {
        "" => ("/v1/agent/maintenance".to_owned(), "node"),
        id => (format!("/v1/agent/service/maintenance/{}", encoded(id)), "service"),
    };
    let ask = Ask::put(path).with("enable", enable).with_some("reason", reason);
    let (doing, done) = if enable { ("enabling", "enabled") } else { ("disabling", "disabled") };
    client.done(&ask).with_context(|| format!("Error {doing} {what} maintenance"))?;
    print_line(&match service {
        "" => format!("Node maintenance is now {done}"),
        id => format!("Service maintenance is now {done} for {id:?}"),
    });
    Ok(0)
}

fn list_maintained(client: &Client, node: &str) -> Outcome {
    let checks = client.json(&Ask::get("/v1/agent/checks")).context("Error getting checks")?;
    for check in checks.as_object().into_iter().flatten().map(|it| it.1) {
        let id = field(check, "CheckID");
        let lines = if id == "_node_maintenance" {
            format!("Node:\n  Name:   {node}")
        } else if id.starts_with("_service_maintenance:") {
            format!("Service:\n  ID:     {}", field(check, "ServiceID"))
        } else {
            continue;
        };
        print_line(&format!("{lines}\n  Reason: {}\n", field(check, "Notes")));
    }
    Ok(0)
}

fn monitor(call: &Call) -> Outcome {
    let client = call.client()?;
    let ask = Ask::get("/v1/agent/monitor")
        .with_some("loglevel", call.text("log-level"))
        .with_mark("logjson", call.is("log-json"));
    client.block_on(async {
        let response = client.open(&ask).await.context("Error starting monitor")?;
        let status = response.status();
        let mut body = response.into_body();
        if status != StatusCode::OK {
            let text = body.collect().await.map_err(|error| anyhow!(error))?.to_bytes();
            let text = String::from_utf8_lossy(&text).into_owned();
            bail!("Error starting monitor: Unexpected response code: {} ({text})", status.as_u16());
        }
        while let Some(Ok(frame)) = body.frame().await {
            // Who reads along must not wait for a full buffer; when nobody does any more, it ends.
            let mut stdout = std::io::stdout();
            if let Some(bytes) = frame.data_ref()
                && stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err()
            {
                return Ok(0);
            }
        }
        note("");
        note(
            "Remote side ended the monitor! This usually means that the\nremote side has exited or \
             crashed.",
        );
        Ok(1)
    })
}
