//! `consul snapshot`: the whole state of the servers, in a file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use control::archive::{Snapshot, read_archive};
use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::client::{Ask, Client};
use super::command::{Call, Command, Outcome, Reach, refuse};
use super::flags::{Kind, flag, switch, text, text_or};
use super::print::{aligned, field, json, row};
use crate::output::print_line;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "snapshot save",
        synopsis: "Saves the state of the servers in a file.",
        arguments: "[options] FILE",
        flags: &[text(
            "append-filename",
            "Parts to add to the file's name, with commas between: version, dc, node, status.",
        )],
        reach: Reach::Agent,
        run: save,
    },
    Command {
        name: "snapshot restore",
        synopsis: "Replaces the state of the servers by that in a file.",
        arguments: "[options] FILE",
        flags: &[],
        reach: Reach::Agent,
        run: restore,
    },
    Command {
        name: "snapshot inspect",
        synopsis: "Says what is in a file of `consul snapshot save`.",
        arguments: "[options] FILE",
        flags: &[
            text_or("format", "pretty", "Form of the output, pretty or json."),
            flag("kvdepth", Kind::Number(2), "With -kvdetails: parts of a key that count."),
            switch("kvdetails", "Count the keys by their first parts."),
            text("kvfilter", "With -kvdetails: prefix of the keys that are counted."),
        ],
        reach: Reach::Nobody,
        run: inspect,
    },
];

fn file_argument(call: &Call) -> anyhow::Result<&str> {
    call.argument()?.context("Missing FILE argument")
}

fn save(call: &Call) -> Outcome {
    let client = call.client()?;
    let file = named(call, &client, file_argument(call)?)?;
    let unverified = format!("{file}.unverified");
    let saved = client.block_on(download(&client, &unverified));
    let verified = saved.and_then(|index| {
        read(&unverified).context("Error verifying snapshot file")?;
        fs::rename(&unverified, &file)
            .with_context(|| format!("Error renaming {unverified:?} to {file:?}"))?;
        Ok(index)
    });
    if verified.is_err() {
        // It may never have been made.
        let _ = fs::remove_file(&unverified);
    }
    print_line(&format!("Saved and verified snapshot to index {}", verified?));
    Ok(0)
}

/// The file's name with what `-append-filename` asks for before its extension.
fn named(call: &Call, client: &Client, file: &str) -> anyhow::Result<String> {
    let wanted = call.text("append-filename");
    if wanted.is_empty() {
        return Ok(file.to_owned());
    }
    let own = client.json(&Ask::get("/v1/agent/self"));
    let own = own.context("Error connecting to Consul agent and fetching datacenter/version")?;
    let extension = Path::new(file).extension().and_then(|it| it.to_str());
    let extension = extension.map_or(String::new(), |it| format!(".{it}"));
    let mut name = file.strip_suffix(&extension).unwrap_or(file).to_owned();
    let parts: Vec<&str> = wanted.split(',').collect();
    for (part, setting) in [("version", "Version"), ("dc", "Datacenter"), ("node", "NodeName")] {
        if parts.contains(&part) {
            name.push_str(&format!("-{}", field(&own["Config"], setting)));
        }
    }
    if parts.contains(&"status") {
        let is_leader = field(&own["Stats"]["consul"], "leader") == "true";
        name.push_str(if is_leader { "-leader" } else { "-follower" });
    }
    Ok(name + &extension)
}

/// Writes what the agent sends into a file that only its owner can read; the index of it.
async fn download(client: &Client, file: &str) -> anyhow::Result<u64> {
    use std::os::unix::fs::OpenOptionsExt;
    let response = client.open(&Ask::get("/v1/snapshot")).await.context("Error saving snapshot")?;
    let (head, mut body) = response.into_parts();
    if head.status != StatusCode::OK {
        let text = body.collect().await.map_err(|error| anyhow!(error))?.to_bytes();
        let (code, text) = (head.status.as_u16(), String::from_utf8_lossy(&text).into_owned());
        bail!("Error saving snapshot: Unexpected response code: {code} ({})", text.trim_end());
    }
    let failed = "Error writing unverified snapshot file";
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut written = options.open(file).with_context(|| format!("{failed}: open {file}"))?;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("Error saving snapshot")?;
        if let Some(bytes) = frame.data_ref() {
            written.write_all(bytes).context(failed)?;
        }
    }
    written.sync_all().context(failed)?;
    let index = head.headers.get("x-consul-index").and_then(|it| it.to_str().ok());
    Ok(index.and_then(|it| it.parse().ok()).unwrap_or(0))
}

fn restore(call: &Call) -> Outcome {
    let path = file_argument(call)?;
    let file = File::open(path);
    let file = file.with_context(|| format!("Error opening snapshot file: open {path}"))?;
    let client = call.client()?;
    let ask = Ask::put("/v1/snapshot").bytes("");
    let answer = client.block_on(client.send_file(&ask, file));
    answer.and_then(|it| it.ok()).context("Error restoring snapshot")?;
    print_line("Restored snapshot");
    Ok(0)
}

/// What there is of a kind of records.
#[derive(Clone, Default)]
struct Share {
    count: u64,
    bytes: u64,
}

type Shares = BTreeMap<String, Share>;

fn inspect(call: &Call) -> Outcome {
    let path = file_argument(call)?;
    let is_json = match call.text("format") {
        "json" => true,
        "pretty" => false,
        other => {
            return refuse(format!(
                "Error outputting enhanced snapshot data: Unknown format: {other}"
            ));
        }
    };
    let (snapshot, size) = read(path).context("Error reading snapshot")?;
    let (kinds, keys) = shares(call, &snapshot)?;
    let index = snapshot.revision.0;
    let meta = json!({"ID": format!("leno-{index}"), "Size": size, "Index": index, "Version": 1});
    if is_json {
        print_line(&json(&as_json(&meta, &kinds, &keys), "   "));
    } else {
        print_pretty(&meta, &kinds, call.is("kvdetails").then_some(&keys));
    }
    Ok(0)
}

/// Reads a file, which must be whole, and says how long it is.
fn read(path: &str) -> anyhow::Result<(Snapshot, u64)> {
    let bytes = fs::read(path).with_context(|| format!("Error opening snapshot file: {path}"))?;
    Ok((read_archive(&bytes)?, bytes.len() as u64))
}

/// Counts the entries by what they are, and those of the key-value store by the first parts of their keys.
fn shares(call: &Call, snapshot: &Snapshot) -> anyhow::Result<(Shares, Shares)> {
    let depth = usize::try_from(call.number("kvdepth")).context("-kvdepth is below 0")?;
    let (mut kinds, mut keys) = (Shares::new(), Shares::new());
    let count = |shares: &mut Shares, name: String, bytes: usize| {
        let share = shares.entry(name).or_default();
        share.count += 1;
        share.bytes += bytes as u64;
    };
    for entry in &snapshot.entries {
        let bytes = entry.key.len() + entry.value.len();
        let mut parts = entry.key.splitn(3, '\0');
        let kind = parts.next().unwrap_or_default();
        let kind = match (kind, parts.next()) {
            ("record", Some(table)) => table,
            (kind, _) => kind,
        };
        count(&mut kinds, kind.to_owned(), bytes);
        let Some(key) = entry.key.strip_prefix("kv\0") else { continue };
        if key.starts_with(call.text("kvfilter")) {
            let prefix: Vec<&str> = key.split('/').take(depth).collect();
            count(&mut keys, prefix.join("/"), bytes);
        }
    }
    Ok((kinds, keys))
}

/// The largest first.
fn sorted(shares: &Shares) -> Vec<(&String, &Share)> {
    let mut sorted: Vec<_> = shares.iter().collect();
    sorted.sort_by(|a, b| b.1.bytes.cmp(&a.1.bytes).then(a.0.cmp(b.0)));
    sorted
}

fn total(shares: &Shares) -> u64 {
    shares.values().map(|share| share.bytes).sum()
}

fn as_json(meta: &Value, kinds: &Shares, keys: &Shares) -> Value {
    let list = |shares: &Shares| -> Value {
        let items = sorted(shares).into_iter();
        items.map(|(name, it)| json!({"Name": name, "Sum": it.bytes, "Count": it.count})).collect()
    };
    json!({
        "Meta": {
            "ID": meta["ID"], "Size": meta["Size"], "Index": meta["Index"],
            "Version": meta["Version"],
        },
        "Stats": list(kinds),
        "StatsKV": if keys.is_empty() { Value::Null } else { list(keys) },
        "TotalSize": total(kinds),
        "TotalSizeKV": total(keys),
    })
}

fn print_pretty(meta: &Value, kinds: &Shares, keys: Option<&Shares>) {
    let names = ["ID", "Size", "Index", "Version"];
    let rows = names.map(|name| {
        let value = meta[name].as_str().map_or_else(|| meta[name].to_string(), str::to_owned);
        vec![format!(" {name}"), value]
    });
    print_line(&aligned(&rows, 6));
    print_line("");
    print_shares(" Type", kinds, 6);
    if let Some(keys) = keys {
        print_line("\n");
        print_shares(" Key Name", keys, 12);
    }
}

fn print_shares(title: &str, shares: &Shares, distance: usize) {
    let line = || row(&[" ----", "----", "----", ""]);
    let mut rows = vec![row(&[title, "Count", "Size", ""]), line()];
    for (name, share) in sorted(shares) {
        let name = format!(" {name}");
        rows.push(row(&[&name, &share.count.to_string(), &size(share.bytes), ""]));
    }
    rows.push(line());
    rows.push(row(&[" Total", "", &size(total(shares)), ""]));
    print_line(&aligned(&rows, distance));
}

/// Bytes with one decimal of the largest unit that fits.
fn size(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let unit = (0..units.len()).rev().find(|unit| bytes >= 1 << (10 * unit));
    let Some(unit) = unit else { return "0".to_owned() };
    #[allow(clippy::cast_precision_loss)] // One decimal is printed.
    let value = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    let text = format!("{value:.1}");
    format!("{}{}", text.strip_suffix(".0").unwrap_or(&text), units[unit])
}
