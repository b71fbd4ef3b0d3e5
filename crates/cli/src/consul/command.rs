//! What a command is, how it is found, and its usage text.

use std::io::{Read, Write as _};

use anyhow::Context;

use super::client::Client;
use super::flags::{Flag, Given, Kind, switch, text};
use crate::output::{note, print};

/// The longest file, or standard input, that is read: what `consul kv export` prints of a large prefix.
const SOURCE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The code that a command ends with, or the sentence that goes to standard error (code 1).
pub(crate) type Outcome = anyhow::Result<u8>;

/// One line of the table of commands.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its words after `consul`.
    pub(crate) name: &'static str,
    /// What it does, in one sentence.
    pub(crate) synopsis: &'static str,
    /// What follows its words.
    pub(crate) arguments: &'static str,
    pub(crate) flags: &'static [Flag],
    pub(crate) reach: Reach,
    pub(crate) run: fn(&Call) -> Outcome,
}

/// Whom a command talks to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// An agent: it has the flags of [`HTTP_FLAGS`].
    Agent,
    /// Nobody.
    Nobody,
    /// It reads its arguments itself.
    Raw,
}

/// Flags of every command that talks to an agent.
pub(crate) static HTTP_FLAGS: [Flag; 12] = [
    text("ca-file", "File of the CA that has signed the agent's certificate [env: CONSUL_CACERT]."),
    text("ca-path", "Folder of such files [env: CONSUL_CAPATH]."),
    text("client-cert", "File of this client's certificate [env: CONSUL_CLIENT_CERT]."),
    text("client-key", "File of its private key [env: CONSUL_CLIENT_KEY]."),
    text(
        "http-addr",
        "The agent: HOST:PORT, http://, https:// or unix:///PATH [env: CONSUL_HTTP_ADDR].",
    ),
    text(
        "tls-server-name",
        "Name that the agent's certificate is for [env: CONSUL_TLS_SERVER_NAME].",
    ),
    text("token", "Token of the request [env: CONSUL_HTTP_TOKEN]."),
    text("token-file", "File that holds the token [env: CONSUL_HTTP_TOKEN_FILE]."),
    text("datacenter", "Datacenter to ask; the agent's own if left out."),
    switch("stale", "Let any server answer, not the leader alone."),
    text("namespace", "Namespace, passed on as it is [env: CONSUL_NAMESPACE]."),
    text("partition", "Partition, passed on as it is [env: CONSUL_PARTITION]."),
];

/// A command with what was given to it.
pub(crate) struct Call {
    command: &'static Command,
    given: Given,
}

impl std::ops::Deref for Call {
    type Target = Given;

    fn deref(&self) -> &Given {
        &self.given
    }
}

impl Call {
    /// Runs a command with its arguments.
    pub(crate) fn run(command: &'static Command, arguments: &[String]) -> Outcome {
        let known: Vec<&Flag> = match command.reach {
            Reach::Agent => command.flags.iter().chain(&HTTP_FLAGS).collect(),
            Reach::Nobody | Reach::Raw => command.flags.iter().collect(),
        };
        let given = match command.reach {
            Reach::Raw => {
                let all = std::iter::once("--".to_owned()).chain(arguments.iter().cloned());
                Given::parse(known, &all.collect::<Vec<_>>())
            }
            Reach::Agent | Reach::Nobody => Given::parse(known, arguments),
        };
        match given {
            Ok(given) => (command.run)(&Call { command, given }),
            Err(problem) => {
                note(&format!("{problem}\n{}", usage(command)));
                Ok(1)
            }
        }
    }

    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Client::new(self).context("Error connecting to Consul agent")
    }

    /// A mistake after which the usage text helps.
    pub(crate) fn wrong_use(&self, problem: &str) -> Outcome {
        note(&format!("{problem}\n\n{}", usage(self.command)));
        Ok(1)
    }

    /// The only argument, if there is one.
    pub(crate) fn argument(&self) -> anyhow::Result<Option<&str>> {
        match self.positional() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            more => anyhow::bail!("Too many arguments (expected 1, got {})", more.len()),
        }
    }

    /// Complains about arguments.
    pub(crate) fn no_arguments(&self) -> anyhow::Result<()> {
        let count = self.positional().len();
        anyhow::ensure!(count == 0, "Too many arguments (expected 0, got {count})");
        Ok(())
    }
}

/// Says that a condition of the command does not hold.
pub(crate) fn refuse<T>(problem: impl std::fmt::Display) -> anyhow::Result<T> {
    anyhow::bail!("{problem}")
}

/// A file, or standard input for `-`.
pub(crate) fn read_source(source: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if source == "-" {
        let stdin = std::io::stdin().lock().take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes);
        stdin.context("Failed to read stdin")?;
    } else {
        let failed = || format!("Failed to read file: open {source}");
        let file = std::fs::File::open(source).with_context(failed)?;
        file.take(SOURCE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(failed)?;
    }
    let is_short = bytes.len() as u64 <= SOURCE_BYTES_MAX;
    anyhow::ensure!(is_short, "{source} has more than the {SOURCE_BYTES_MAX} bytes that are read");
    Ok(bytes)
}

/// What is meant by `@file`, `-` for standard input, or the text itself.
pub(crate) fn read_data(data: &str) -> anyhow::Result<Vec<u8>> {
    match data.strip_prefix('@') {
        Some(file) => read_source(file),
        None if data == "-" => read_source("-"),
        None => Ok(data.as_bytes().to_vec()),
    }
}

/// Writes a new file that only its owner can read.
pub(crate) fn write_secret(path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.with_context(|| format!("cannot write {path}"))
}

/// What `-h` prints.
pub(crate) fn usage(command: &Command) -> String {
    let mut text = format!("Usage: consul {} {}\n\n", command.name, command.arguments);
    text.push_str(&format!("  {}\n", command.synopsis));
    if !command.flags.is_empty() {
        text.push_str("\nCommand Options\n");
        list_flags(&mut text, command.flags);
    }
    if command.reach == Reach::Agent {
        text.push_str("\nHTTP API Options\n");
        list_flags(&mut text, &HTTP_FLAGS);
    }
    text
}

fn list_flags(text: &mut String, flags: &[Flag]) {
    let mut flags: Vec<&Flag> = flags.iter().collect();
    flags.sort_by_key(|flag| flag.name);
    for flag in flags {
        let value = match flag.kind {
            Kind::Switch(_) => "",
            Kind::Text(_) | Kind::List => "=<value>",
            Kind::Number(_) => "=<int>",
            Kind::Unsigned => "=<uint>",
            Kind::Duration => "=<duration>",
        };
        let default = match flag.kind {
            Kind::Switch(true) => " On unless -name=false is given.".replace("name", flag.name),
            Kind::Text(default) if !default.is_empty() => format!(" The default is {default}."),
            Kind::Number(default) if default != 0 => format!(" The default is {default}."),
            Kind::List => " May be given several times.".to_owned(),
            _ => String::new(),
        };
        text.push_str(&format!("\n  -{}{value}\n     {}{default}\n", flag.name, flag.help));
    }
}

/// The command whose words `words` begin with, and how many words those are; the longest wins.
pub(crate) fn find(words: &[String]) -> Option<(&'static Command, usize)> {
    let all = super::COMMANDS.iter().flat_map(|group| group.iter());
    let fitting = all.filter_map(|command| {
        let mut count = 0;
        for word in command.name.split(' ') {
            if words.get(count).map(String::as_str) != Some(word) {
                return None;
            }
            count += 1;
        }
        Some((command, count))
    });
    fitting.max_by_key(|(_, count)| *count)
}

/// The longest beginning of `words` that begins the words of a command.
pub(crate) fn common_words(words: &[String]) -> String {
    let mut group = String::new();
    for word in words {
        let longer = if group.is_empty() { word.clone() } else { format!("{group} {word}") };
        let begins = format!("{longer} ");
        let mut all = super::COMMANDS.iter().flat_map(|group| group.iter());
        if !all.any(|command| command.name.starts_with(&begins)) {
            break;
        }
        group = longer;
    }
    group
}

/// The commands under the words of a group, each with what it does.
pub(crate) fn group_usage(group: &str) -> String {
    let prefix = if group.is_empty() { String::new() } else { format!("{group} ") };
    let mut lines: Vec<(&str, String)> = Vec::new();
    for command in super::COMMANDS.iter().flat_map(|group| group.iter()) {
        let Some(rest) = command.name.strip_prefix(&prefix) else { continue };
        let word = rest.split(' ').next().unwrap_or(rest);
        if lines.iter().any(|(known, _)| *known == word) {
            continue;
        }
        let synopsis = match rest == word {
            true => command.synopsis.to_owned(),
            false => format!("Commands under `{prefix}{word}`."),
        };
        lines.push((word, synopsis));
    }
    lines.sort();
    let words = if group.is_empty() { String::new() } else { format!(" {group}") };
    let arguments = if group.is_empty() { "[-version] [-help]" } else { "<subcommand>" };
    let after = if group.is_empty() { " <command> [args]" } else { " [options] [args]" };
    let mut text = format!("Usage: consul{words} {arguments}{after}\n\n");
    text.push_str(if group.is_empty() { "Available commands are:\n" } else { "Subcommands:\n" });
    let width = lines.iter().map(|(word, _)| word.len()).max().unwrap_or(0);
    for (word, synopsis) in lines {
        text.push_str(&format!("    {word:width$}    {synopsis}\n"));
    }
    text
}

/// Prints a usage text that was asked for.
pub(crate) fn print_usage(text: &str) -> u8 {
    print(text);
    0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> impl Iterator<Item = &'static Command> {
        crate::consul::COMMANDS.iter().flat_map(|group| group.iter())
    }

    #[test]
    fn each_command_and_each_of_its_flags_is_in_the_table_once() {
        let mut names = BTreeSet::new();
        for command in all() {
            assert!(names.insert(command.name), "{}", command.name);
            assert!(command.synopsis.ends_with(['.', ')']), "{}", command.name);
            let mut flags = BTreeSet::new();
            let http = HTTP_FLAGS.iter().filter(|_| command.reach == Reach::Agent);
            for flag in command.flags.iter().chain(http) {
                assert!(flags.insert(flag.name), "{} -{}", command.name, flag.name);
                assert!(flag.help.ends_with('.'), "{} -{}", command.name, flag.name);
                assert!(!matches!(flag.name, "h" | "help"), "{}", command.name);
            }
        }
    }

    #[test]
    fn the_longest_words_name_a_command() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let find = |line| find(&words(line)).map(|(command, count)| (command.name, count));
        assert_eq!(find("kv get a b"), Some(("kv get", 2)));
        assert_eq!(find("kv"), None);
        assert_eq!(find("members kv"), Some(("members", 1)));
        assert_eq!(find("acl token list -meta"), Some(("acl token list", 3)));
        assert_eq!(common_words(&words("acl token x")), "acl token");
        assert_eq!(common_words(&words("nonsense")), "");
        assert!(group_usage("acl").contains("    token "));
        assert!(group_usage("").contains("    kv "));
    }

    #[test]
    fn usage_says_what_a_flag_takes_and_what_it_is_without() {
        let (command, _) = find(&["lock".to_owned()]).unwrap();
        let text = usage(command);
        for part in [
            "Usage: consul lock [options] PREFIX PROGRAM...\n",
            "  -n=<int>\n",
            "The default is 1.",
            "On unless -shell=false is given.",
            "  -http-addr=<value>\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }
}
