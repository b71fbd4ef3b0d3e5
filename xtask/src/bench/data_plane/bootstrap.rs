//! `examples/envoy/bench*.yaml`, filled with the ports and files of this run.

use std::collections::BTreeMap;

use anyhow::{Context, bail};

/// Marks a line whose value the benchmark replaces: `port_value: 10080 # bench: http1`.
const MARK: &str = " # bench: ";

/// Replaces the value of every marked line.
///
/// # Errors
/// A mark without a value among the given ones, or a marked line without a value.
pub(super) fn fill(text: &str, values: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let mut filled = String::with_capacity(text.len());
    for line in text.lines() {
        match line.split_once(MARK) {
            None => filled.push_str(line),
            Some((line, name)) => {
                let value = values.get(name.trim());
                let value = value.with_context(|| format!("nothing is known as {name}: {line}"))?;
                let Some((key, _)) = line.split_once(": ") else { bail!("no value: {line}") };
                filled.push_str(&format!("{key}: {value}"));
            }
        }
        filled.push('\n');
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn marked_lines_take_their_values_and_others_stay() {
        let text = "admin: # bench\n  port_value: 10001 # bench: admin\n  port_value: 1\n";
        let filled = fill(text, &values(&[("admin", "45001")])).expect("it has a value");
        assert_eq!(filled, "admin: # bench\n  port_value: 45001\n  port_value: 1\n");
    }

    #[test]
    fn a_mark_that_nobody_knows_is_an_error() {
        let error = fill("port_value: 1 # bench: tpc\n", &values(&[("tcp", "2")]));
        assert!(error.expect_err("a misspelled mark").to_string().contains("tpc"));
    }
}
