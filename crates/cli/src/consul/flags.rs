//! Flags as Go's `flag` package reads them: `-name value`, `-name=value`, `--name`, `-switch`, `-switch=false`. The first
//! argument that is no flag, or `--`, ends them.

use std::time::Duration;

/// A flag of a command.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What it does, for the usage text.
    pub(crate) help: &'static str,
}

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Nothing, or `=true`/`=false`; with what it is when it is not given.
    Switch(bool),
    /// Text, with its default.
    Text(&'static str),
    /// Text; may be given several times.
    List,
    /// A whole number, with its default.
    Number(i64),
    /// A number that is not below 0, of 64 bits.
    Unsigned,
    /// A duration such as `1h2m3.5s`.
    Duration,
}

/// A switch that is off.
pub(crate) const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Switch(false), help }
}

/// A text that is empty.
pub(crate) const fn text(name: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Text(""), help }
}

/// A text with a default.
pub(crate) const fn text_or(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Text(default), help }
}

/// A text that may be given several times.
pub(crate) const fn list(name: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::List, help }
}

/// A flag of another kind.
pub(crate) const fn flag(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, kind, help }
}

/// What was given on a command line.
#[derive(Debug)]
pub(crate) struct Given {
    known: Vec<&'static Flag>,
    values: Vec<(&'static Flag, String)>,
    positional: Vec<String>,
}

impl Given {
    /// Reads `arguments`, of which the flags must be among `known`.
    ///
    /// # Errors
    /// Go's sentence about the first flag that is wrong.
    pub(crate) fn parse(known: Vec<&'static Flag>, arguments: &[String]) -> Result<Self, String> {
        let mut values = Vec::new();
        let mut rest = arguments.iter();
        let mut positional = Vec::new();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                break;
            }
            if argument.len() < 2 || !argument.starts_with('-') {
                positional.push(argument.clone());
                break;
            }
            let name = argument.strip_prefix("--").unwrap_or(&argument[1..]);
            if name.is_empty() || name.starts_with(['-', '=']) {
                return Err(format!("bad flag syntax: {argument}"));
            }
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let Some(flag) = known.iter().find(|flag| flag.name == name) else {
                return Err(format!("flag provided but not defined: -{name}"));
            };
            let value = match (value, flag.kind) {
                (Some(value), _) => value,
                (None, Kind::Switch(_)) => "true".to_owned(),
                (None, _) => match rest.next() {
                    Some(value) => value.clone(),
                    None => return Err(format!("flag needs an argument: -{name}")),
                },
            };
            check(flag, &value)?;
            values.push((*flag, value));
        }
        positional.extend(rest.cloned());
        Ok(Self { known, values, positional })
    }

    /// The arguments after the flags.
    pub(crate) fn positional(&self) -> &[String] {
        &self.positional
    }

    /// Was the flag given?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// A switch.
    pub(crate) fn is(&self, name: &str) -> bool {
        match (self.last(name).and_then(boolean), self.kind(name)) {
            (Some(value), _) => value,
            (None, Some(Kind::Switch(default))) => default,
            (None, _) => false,
        }
    }

    /// A text, or its default.
    pub(crate) fn text(&self, name: &str) -> &str {
        match (self.last(name), self.kind(name)) {
            (Some(value), _) => value,
            (None, Some(Kind::Text(default))) => default,
            (None, _) => "",
        }
    }

    /// All values of a list.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.lists(&[name])
    }

    /// All values of several lists, in the order in which they were given.
    pub(crate) fn lists(&self, names: &[&str]) -> Vec<&str> {
        debug_assert!(
            names.iter().all(|it| self.kind(it).is_some()),
            "{names:?}: not in the table"
        );
        let of_them = self.values.iter().filter(|(flag, _)| names.contains(&flag.name));
        of_them.map(|(_, value)| value.as_str()).collect()
    }

    /// Values of the form `key=value`; one without `=` has an empty value. The last of a key counts.
    pub(crate) fn pairs(&self, name: &str) -> Vec<(&str, &str)> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for given in self.list(name) {
            let (key, value) = given.split_once('=').unwrap_or((given, ""));
            pairs.retain(|(known, _)| *known != key);
            pairs.push((key, value));
        }
        pairs
    }

    /// A number, or its default.
    pub(crate) fn number(&self, name: &str) -> i64 {
        match (self.last(name).and_then(integer), self.kind(name)) {
            (Some(value), _) => value,
            (None, Some(Kind::Number(default))) => default,
            (None, _) => 0,
        }
    }

    /// A number that is not below 0; 0 if it was not given.
    pub(crate) fn unsigned(&self, name: &str) -> u64 {
        self.last(name).and_then(natural).unwrap_or(0)
    }

    /// A duration; zero if it was not given.
    pub(crate) fn duration(&self, name: &str) -> GoDuration {
        self.last(name).and_then(GoDuration::parse).unwrap_or(GoDuration(0))
    }

    fn last(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().rev().find(|(flag, _)| flag.name == name);
        found.map(|(_, value)| value.as_str())
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        let kind = self.known.iter().find(|flag| flag.name == name).map(|flag| flag.kind);
        debug_assert!(kind.is_some(), "-{name} is not in the table of its command");
        kind
    }
}

fn check(flag: &Flag, value: &str) -> Result<(), String> {
    let is_right = match flag.kind {
        Kind::Switch(_) => boolean(value).is_some(),
        Kind::Text(_) | Kind::List => true,
        Kind::Number(_) => integer(value).is_some(),
        Kind::Unsigned => natural(value).is_some(),
        Kind::Duration => GoDuration::parse(value).is_some(),
    };
    let name = flag.name;
    match flag.kind {
        _ if is_right => Ok(()),
        Kind::Switch(_) => Err(format!("invalid boolean value {value:?} for -{name}: parse error")),
        _ => Err(format!("invalid value {value:?} for flag -{name}: parse error")),
    }
}

/// As Go's `strconv.ParseBool`.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    i64::try_from(i128::from(natural(digits)?) * sign).ok()
}

/// Decimal, or with the prefixes `0x`, `0b`, `0o` and `0` of other bases.
fn natural(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    let is_digit = |byte: u8| char::from(byte).is_digit(radix);
    digits.bytes().all(is_digit).then(|| u64::from_str_radix(digits, radix).ok())?
}

/// A duration as Go reads and writes it, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct GoDuration(pub(crate) i64);

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl GoDuration {
    /// `1h2m3.5s`, `-300ms`, `0`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (sign, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        if rest.is_empty() {
            return None;
        }
        let mut sum: i64 = 0;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, after) = rest.split_at(number_end);
            let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.');
            let (unit, after) = after.split_at(unit_end.unwrap_or(after.len()));
            let nanoseconds = UNITS.iter().find(|(name, _)| *name == unit)?.1;
            sum = sum.checked_add(part(number, nanoseconds)?)?;
            rest = after;
        }
        Some(Self(sign * sum))
    }

    /// Not below zero.
    pub(crate) fn to_duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

/// So many units, with decimals; what is below a nanosecond is cut off.
fn part(number: &str, unit: i64) -> Option<i64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && decimals.is_empty()) || decimals.contains('.') {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut value = whole.checked_mul(unit)?;
    let mut scale = unit;
    for digit in decimals.bytes() {
        scale /= 10;
        value = value.checked_add(i64::from(digit - b'0') * scale)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    static FLAGS: [Flag; 6] = [
        switch("recurse", ""),
        flag("shell", Kind::Switch(true), ""),
        text_or("separator", "/", ""),
        list("tag", ""),
        flag("n", Kind::Number(1), ""),
        flag("try", Kind::Duration, ""),
    ];

    fn parse(line: &str) -> Result<Given, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Given::parse(FLAGS.iter().collect(), &arguments)
    }

    #[test]
    fn flags_come_with_one_or_two_dashes_and_values_after_a_space_or_a_sign() {
        let given = parse("-recurse --separator=. -tag a -tag=b -shell=false -n 0x10 key -n 2");
        let given = given.unwrap();
        assert!(given.is("recurse") && !given.is("shell"));
        assert_eq!(given.text("separator"), ".");
        assert_eq!(given.list("tag"), ["a", "b"]);
        assert_eq!(given.number("n"), 16);
        assert_eq!(given.positional(), ["key", "-n", "2"], "flags end at the first argument");
        let given = parse("-- -recurse").unwrap();
        assert_eq!(given.positional(), ["-recurse"]);
        assert_eq!((given.text("separator"), given.number("n")), ("/", 1));
        assert!(given.is("shell") && !given.has("shell"));
        assert_eq!(parse("- x").unwrap().positional(), ["-", "x"], "a dash is no flag");
    }

    #[test]
    fn a_switch_takes_no_value_after_a_space() {
        let given = parse("-recurse false").unwrap();
        assert!(given.is("recurse"));
        assert_eq!(given.positional(), ["false"]);
    }

    #[test]
    fn errors_are_the_sentences_of_go() {
        for (line, expected) in [
            ("-x", "flag provided but not defined: -x"),
            ("--x=1", "flag provided but not defined: -x"),
            ("-separator", "flag needs an argument: -separator"),
            ("---x", "bad flag syntax: ---x"),
            ("-=x", "bad flag syntax: -=x"),
            ("-recurse=maybe", r#"invalid boolean value "maybe" for -recurse: parse error"#),
            ("-n x", r#"invalid value "x" for flag -n: parse error"#),
            ("-try 5", r#"invalid value "5" for flag -try: parse error"#),
        ] {
            assert_eq!(parse(line).unwrap_err(), expected, "{line}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected) in [
            ("1h2m3.5s", Some(3_723_500_000_000)),
            ("300ms", Some(300_000_000)),
            (".5s", Some(500_000_000)),
            ("-1m", Some(-60_000_000_000)),
            ("2µs", Some(2_000)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            (".s", None),
            ("1.2.3s", None),
            ("9999999999h", None),
            ("s", None),
        ] {
            assert_eq!(GoDuration::parse(text).map(|it| it.0), expected, "{text}");
        }
    }
}
