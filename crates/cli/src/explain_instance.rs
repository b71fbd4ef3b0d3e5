//! `leno explain instance`: why an instance is in its state, as a page for people.

use std::process::ExitCode;

use model::Timestamp;
use serde_json::Value;

use crate::args::{Format, ListArguments};
use crate::client::AgentAt;
use crate::list::encoded;
use crate::output::{note, print, print_rows};

pub(crate) async fn run(id: &str, list: &ListArguments) -> anyhow::Result<ExitCode> {
    let agent = AgentAt::of(&list.connection)?;
    let value = agent.get_json(&format!("/leno/v1/instances/{}", encoded(id))).await?;
    let found = value.as_array().map(Vec::as_slice).unwrap_or_default();
    if list.output != Format::Table {
        print_rows(list.output, &[], Vec::new(), &value)?;
        return Ok(if found.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    match found {
        [] => {
            note(&format!("there is no instance {id}; `leno services SERVICE` lists those of one"));
            Ok(ExitCode::FAILURE)
        }
        [one] => {
            print(&page(one));
            Ok(ExitCode::SUCCESS)
        }
        several => {
            let name = |it: &Value| format!("{}/{}", text(it, "Node"), text(it, "ID"));
            let names: Vec<String> = several.iter().map(name).collect();
            note(&format!("{id} is the id of several instances; say which: {}", names.join(", ")));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The page of one instance.
fn page(instance: &Value) -> String {
    let now = Now(number(instance, "NowMs").unwrap_or_default());
    let mut page = String::new();
    let state = text(instance, "State");
    let (host, port) = (text(instance, "Address"), number(instance, "Port").unwrap_or_default());
    let node = text(instance, "Node");
    let seen = &instance["Sightings"];
    let spared = text(seen, "Text").split("; ").next().filter(|_| text(seen, "State") == "spared");
    page.push_str(&format!(
        "{} of service {} on node {node}, at {host}:{port}\n{}{}{}\nnow {} UTC\n",
        text(instance, "ID"),
        text(instance, "Service"),
        state.to_uppercase(),
        number(instance, "SinceMs")
            .map_or_else(String::new, |it| format!(", since {}", now.ago(it))),
        spared.map_or_else(String::new, |it| format!("; {it}")),
        Timestamp(now.0).time_of_day(),
    ));
    evidence(instance, now, &mut page);
    copy(instance, now, &mut page);
    proxies(instance, now, &mut page);
    outlook(instance, now, &mut page);
    page
}

fn evidence(instance: &Value, now: Now, page: &mut String) {
    page.push_str("\nEVIDENCE\n");
    let checks = array(instance, "Evidence");
    for check in checks {
        let is_sightings = text(check, "Kind") == "sightings";
        let name = match text(check, "Check") {
            _ if is_sightings => "what proxies see".to_owned(),
            id if check["OfNode"] == true => format!("{id} (of the node)"),
            id => id.to_owned(),
        };
        let since = number(check, "SinceMs").map_or_else(String::new, |it| now.ago(it));
        head(page, text(check, "State"), &name, &format!("since {since}"));
        if is_sightings {
            sightings(instance, text(check, "Text"), now, page);
            continue;
        }
        for line in text(check, "Text").lines().filter(|it| !it.trim().is_empty()).take(3) {
            body(page, line.trim_end());
        }
        run_of(&check["Run"], text(check, "State"), now, page);
        if let Some(at) = number(check, "DeregistersMs") {
            body(page, &format!("deregisters the instance {}", now.ahead(at)));
        }
    }
    let seen = &instance["Sightings"];
    let is_told = checks.iter().any(|it| text(it, "Kind") == "sightings");
    if !seen.is_null() && !is_told {
        let since = number(seen, "SinceMs").map_or_else(String::new, |it| now.ago(it));
        head(page, text(seen, "State"), "what proxies see", &format!("since {since}"));
        sightings(instance, text(seen, "Text"), now, page);
    }
    if checks.is_empty() && seen.is_null() {
        body(page, "nothing speaks for or against it: it has no checks, and no proxy saw it fail");
    }
}

fn head(page: &mut String, state: &str, name: &str, since: &str) {
    page.push_str(&format!("  {state:<12}{name:<32}  {since}\n"));
}

fn body(page: &mut String, line: &str) {
    page.push_str(&format!("              {line}\n"));
}

/// How the checks goes that the agent runs.
fn run_of(run: &Value, state: &str, now: Now, page: &mut String) {
    if run.is_null() {
        return;
    }
    let (kind, held) = (text(run, "Kind"), text(run, "Held"));
    if !held.is_empty() {
        body(page, &format!("not run now: {held}"));
        return;
    }
    let last = number(run, "LastMs").map(|it| now.ago(it));
    if kind == "ttl" {
        let beat = last.map_or_else(
            || "no heartbeat yet".to_owned(),
            |it| format!("last heartbeat {it}, {}", text(run, "LastState")),
        );
        let due = number(run, "LapsesMs").map(|it| format!("the next is due {}", now.ahead(it)));
        let lapsed = number(run, "LapsedMs").map(|it| format!("lapsed {}", now.ago(it)));
        let parts: Vec<String> = [Some(beat), due, lapsed].into_iter().flatten().collect();
        body(page, &parts.join("; "));
        return;
    }
    if kind == "alias" {
        return;
    }
    let took = number(run, "TookMs").unwrap_or_default();
    let last = last.map(|it| format!("last run {it}, {} in {took} ms", text(run, "LastState")));
    let next = number(run, "NextMs").map(|it| format!("next {}", now.ahead(it)));
    let parts: Vec<String> = [last, next].into_iter().flatten().collect();
    if !parts.is_empty() {
        body(page, &parts.join("; "));
    }
    let (left, which) = match state {
        "critical" => (number(run, "SuccessesLeft"), "passing"),
        _ => (number(run, "FailuresLeft"), "failing"),
    };
    let becomes = if which == "passing" { "passing" } else { "critical" };
    match left.unwrap_or(1) {
        1 => body(page, &format!("the next {which} run makes it {becomes}")),
        left => body(page, &format!("{left} {which} runs in a row make it {becomes}")),
    }
}

fn sightings(instance: &Value, said: &str, now: Now, page: &mut String) {
    let seen = &instance["Sightings"];
    // Each proxy has a line of its own below.
    let proxies = array(seen, "Proxies");
    let rest = said.split("; ").filter(|it| proxies.is_empty() || !it.starts_with("proxy "));
    rest.for_each(|it| body(page, it));
    for proxy in proxies {
        let told = number(proxy, "Count").unwrap_or_default();
        let last = number(proxy, "LastMs").map_or_else(String::new, |it| now.ago(it));
        let (name, what) = (text(proxy, "Proxy"), text(proxy, "Text"));
        // A proxy tells once of many failures, and counts each.
        let mut users = array(instance, "Proxies").iter();
        let counted = users.find(|it| text(it, "Proxy") == name);
        let failures = counted.and_then(|it| number(it, "Failures")).unwrap_or_default();
        let times = match (failures > told, told) {
            (true, _) => format!("{failures} failures in all"),
            (false, 1) => "once".to_owned(),
            (false, _) => format!("{told} times"),
        };
        body(page, &format!("proxy {name}: {what}, {times}, last {last}"));
        if let Some(at) = number(proxy, "RecoveredMs") {
            body(page, &format!("proxy {name}: succeeded again {}", now.ago(at)));
        }
    }
    let times = number(seen, "TimesInARow").unwrap_or_default();
    if times > 0 {
        let hold = span(number(seen, "NextHoldMs").unwrap_or_default());
        let times = if times == 1 { "once".to_owned() } else { format!("{times} times in a row") };
        body(page, &format!("out of use {times} lately; it would be for {hold} the next time"));
    }
}

fn copy(instance: &Value, now: Now, page: &mut String) {
    let copy = &instance["Copy"];
    if copy.is_null() {
        return;
    }
    let pid = number(copy, "Pid").map_or_else(String::new, |it| format!(", process {it}"));
    let restarts = match number(copy, "Restarts").unwrap_or_default() {
        0 => String::new(),
        1 => ", restarted once".to_owned(),
        times => format!(", restarted {times} times"),
    };
    let since = number(copy, "SinceMs").map_or_else(String::new, |it| now.ago(it));
    page.push_str(&format!(
        "\nCOPY of workload {}, version {}{pid}{restarts}\n  {:<12}since {since}\n",
        text(copy, "Workload"),
        text(copy, "Version"),
        text(copy, "State"),
    ));
    if let Some(line) = text(copy, "Text").lines().next().filter(|it| !it.is_empty()) {
        body(page, line);
    }
}

fn proxies(instance: &Value, now: Now, page: &mut String) {
    let proxies = array(instance, "Proxies");
    if proxies.is_empty() {
        return;
    }
    let widest = proxies.iter().map(|it| text(it, "Proxy").chars().count()).max();
    let width = widest.unwrap_or_default().max("PROXY".len());
    page.push_str(&format!(
        "\n{:<width$}    {:>8}  {:>9}  {:>8}  USES IT\n",
        "PROXY", "ACTIVE", "SUCCESSES", "FAILURES"
    ));
    for it in proxies {
        let count = |name| number(it, name).unwrap_or_default();
        let uses = match number(it, "EjectedUntilMs") {
            Some(at) => format!("not by itself before {}", now.at(at)),
            None if ["passing", "warning"].contains(&text(instance, "State")) => "yes".to_owned(),
            None => "no, as the registry says".to_owned(),
        };
        page.push_str(&format!(
            "{:<width$}    {:>8}  {:>9}  {:>8}  {uses}\n",
            text(it, "Proxy"),
            count("Active"),
            count("Successes"),
            count("Failures"),
        ));
    }
}

fn outlook(instance: &Value, now: Now, page: &mut String) {
    page.push_str("\nWHAT WOULD CHANGE IT\n");
    for it in array(instance, "Outlook") {
        let at = number(it, "AtMs").map_or_else(|| "at any time".to_owned(), |it| now.ahead(it));
        let to = text(it, "To");
        page.push_str(&format!("  {to:<12}{at:<26}  {}\n", text(it, "Text")));
    }
}

/// The agent's time, in milliseconds since 1970.
#[derive(Clone, Copy)]
struct Now(u64);

impl Now {
    /// `12:03:01.250`, with the day where that is another.
    fn at(self, ms: u64) -> String {
        let (time, is_today) = (Timestamp(ms), ms / 86_400_000 == self.0 / 86_400_000);
        if is_today { time.time_of_day() } else { time.to_rfc3339() }
    }

    /// `3.2 s ago (12:03:01.250)`.
    fn ago(self, ms: u64) -> String {
        format!("{} ago ({})", span(self.0.saturating_sub(ms)), self.at(ms))
    }

    /// `in 3.2 s (12:03:10.250)`.
    fn ahead(self, ms: u64) -> String {
        match ms.checked_sub(self.0).filter(|it| *it > 0) {
            Some(left) => format!("in {} ({})", span(left), self.at(ms)),
            None => format!("now (due at {})", self.at(ms)),
        }
    }
}

/// `12 ms`, `3.2 s`, `45 s`, `12 min`, `5 h`, `3 d`.
fn span(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        10_000..120_000 => format!("{} s", ms / 1000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn number(value: &Value, name: &str) -> Option<u64> {
    value[name].as_u64()
}

fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_tells_the_verdict_its_evidence_and_what_would_change_it() {
        let instance = json!({
            "Node": "n1", "ID": "web-1", "Service": "web", "Address": "10.0.0.7", "Port": 80,
            "State": "critical", "SinceMs": 43_381_250, "NowMs": 43_384_450,
            "Evidence": [
                {"Check": "_leno_sightings:web-1", "Kind": "sightings", "State": "critical",
                 "SinceMs": 43_381_250, "OfNode": false, "Run": null, "DeregistersMs": null,
                 "Text": "proxy agent: connection refused or unreachable, 3 times, last at 12:03:01.250; out of use until 12:03:06.250 UTC at the latest"},
                {"Check": "service:web-1", "Kind": "ttl", "State": "passing", "SinceMs": 43_000_000,
                 "OfNode": false, "Text": "", "DeregistersMs": 43_500_000,
                 "Run": {"Kind": "ttl", "LastMs": 43_377_650, "LastState": "passing",
                         "LapsesMs": 43_387_650, "LapsedMs": null, "Held": ""}},
                {"Check": "web-tcp", "Kind": "tcp", "State": "passing", "SinceMs": 43_000_000,
                 "OfNode": true, "Text": "TCP connect 10.0.0.7:80: Success", "DeregistersMs": null,
                 "Run": {"Kind": "tcp", "LastMs": 43_384_350, "TookMs": 2, "LastState": "passing",
                         "NextMs": 43_385_350, "FailuresLeft": 3, "SuccessesLeft": 1, "Held": ""}},
            ],
            "Sightings": {"State": "against", "SinceMs": 43_381_250, "TimesInARow": 1,
                "NextHoldMs": 10_000, "Proxies": [{"Proxy": "agent", "Kind": "connect-failed",
                "Text": "connection refused or unreachable", "Count": 3, "FirstMs": 1,
                "LastMs": 43_381_250, "EjectedUntilMs": 43_385_250, "RecoveredMs": null}]},
            "Proxies": [{"Proxy": "agent", "Active": 0, "Connections": 0, "Successes": 120,
                "Failures": 3, "EjectedUntilMs": 43_385_250}],
            "Copy": null,
            "Outlook": [{"AtMs": 43_386_250, "To": "passing", "Text": "it is let in again"}],
        });
        let expected = "\
web-1 of service web on node n1, at 10.0.0.7:80
CRITICAL, since 3.2 s ago (12:03:01.250)
now 12:03:04.450 UTC

EVIDENCE
  critical    what proxies see                  since 3.2 s ago (12:03:01.250)
              out of use until 12:03:06.250 UTC at the latest
              proxy agent: connection refused or unreachable, 3 times, last 3.2 s ago (12:03:01.250)
              out of use once lately; it would be for 10 s the next time
  passing     service:web-1                     since 6 min ago (11:56:40.000)
              last heartbeat 6.8 s ago (12:02:57.650), passing; the next is due in 3.2 s (12:03:07.650)
              deregisters the instance in 115 s (12:05:00.000)
  passing     web-tcp (of the node)             since 6 min ago (11:56:40.000)
              TCP connect 10.0.0.7:80: Success
              last run 100 ms ago (12:03:04.350), passing in 2 ms; next in 900 ms (12:03:05.350)
              3 failing runs in a row make it critical

PROXY      ACTIVE  SUCCESSES  FAILURES  USES IT
agent           0        120         3  not by itself before 12:03:05.250

WHAT WOULD CHANGE IT
  passing     in 1.8 s (12:03:06.250)     it is let in again
";
        assert_eq!(page(&instance), expected);
    }
}
