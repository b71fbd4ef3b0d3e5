//! The functions of templates, by their names.

use super::networks::{NOT_FORWARDED, is_of_any, is_of_rfc};
use super::parse::{Command, Operand, Pipeline};
use super::selection::{attribute, calculated, partition, sorted, unique};
use super::{InterfaceAddress, TemplateError};

/// What a function gives or takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Addresses(Vec<InterfaceAddress>),
    Text(String),
    Number(i64),
}

pub(super) const NAMES: [&str; 19] = [
    "GetAllInterfaces",
    "GetDefaultInterfaces",
    "GetPrivateInterfaces",
    "GetPublicInterfaces",
    "GetInterfaceIP",
    "GetInterfaceIPs",
    "GetPrivateIP",
    "GetPrivateIPs",
    "GetPublicIP",
    "GetPublicIPs",
    "include",
    "exclude",
    "sort",
    "unique",
    "limit",
    "offset",
    "math",
    "attr",
    "join",
];

/// What a pipeline gives on that machine.
pub(super) fn evaluate(
    pipeline: &Pipeline<'_>,
    machine: &[InterfaceAddress],
) -> Result<Value, TemplateError> {
    let mut value = run(&pipeline.first, None, machine)?;
    for command in &pipeline.more {
        value = run(command, Some(value), machine)?;
    }
    Ok(value)
}

fn run(
    command: &Command<'_>,
    piped: Option<Value>,
    machine: &[InterfaceAddress],
) -> Result<Value, TemplateError> {
    let Operand::Function(name) = command.head else {
        if piped.is_some() || !command.arguments.is_empty() {
            return Err(TemplateError::Syntax("a function is missing".into()));
        }
        return value_of(&command.head, machine);
    };
    let given = command.arguments.iter().map(|it| value_of(it, machine));
    let mut values = given.collect::<Result<Vec<Value>, _>>()?;
    values.extend(piped);
    call(name, values, machine)
}

fn value_of(operand: &Operand<'_>, machine: &[InterfaceAddress]) -> Result<Value, TemplateError> {
    match operand {
        Operand::Function(name) => call(name, Vec::new(), machine),
        Operand::Text(text) => Ok(Value::Text(text.clone())),
        Operand::Number(number) => Ok(Value::Number(*number)),
        Operand::Dot => Ok(Value::Addresses(machine.to_vec())),
        Operand::Inner(pipeline) => evaluate(pipeline, machine),
    }
}

fn call(
    name: &str,
    values: Vec<Value>,
    machine: &[InterfaceAddress],
) -> Result<Value, TemplateError> {
    let mut given = Arguments(values.into_iter());
    let value = match name {
        "GetAllInterfaces" => Ok(Value::Addresses(machine.to_vec())),
        "GetDefaultInterfaces" => {
            let default = machine.iter().filter(|it| it.has_default_route);
            Ok(Value::Addresses(default.cloned().collect()))
        }
        "GetPrivateInterfaces" => Ok(Value::Addresses(private(machine))),
        "GetPublicInterfaces" => Ok(Value::Addresses(public(machine))),
        "GetInterfaceIP" => given.text().and_then(|name| interface_ip(&name, machine)),
        "GetInterfaceIPs" => given.text().and_then(|name| {
            Ok(texts(&sorted(partition("name", &name, machine.to_vec())?.0, "type,size")?))
        }),
        "GetPrivateIP" => Ok(first(&private(machine))),
        "GetPrivateIPs" => sorted(machine.to_vec(), "type,size").map(|all| {
            let private = |it: &InterfaceAddress| is_of_rfc(it, 6890) && is_forwarded(it);
            texts(&all.into_iter().filter(private).collect::<Vec<_>>())
        }),
        "GetPublicIP" => Ok(first(&public(machine))),
        "GetPublicIPs" => sorted(machine.to_vec(), "type,size").map(|all| {
            texts(&all.into_iter().filter(|it| !is_of_rfc(it, 6890)).collect::<Vec<_>>())
        }),
        "include" | "exclude" | "sort" | "unique" | "limit" | "offset" | "math" => {
            selected(name, &mut given).map(Value::Addresses)
        }
        // Both are one function in go-sockaddr.
        "attr" | "Attr" => given.text().and_then(|what| {
            let of_first = given.addresses()?.first().map(|it| attribute(it, &what)).transpose();
            Ok(Value::Text(of_first?.unwrap_or_default()))
        }),
        "join" => given.text().and_then(|what| {
            let (separator, addresses) = (given.text()?, given.addresses()?);
            let of_each = addresses.iter().map(|it| attribute(it, &what));
            Ok(Value::Text(of_each.collect::<Result<Vec<_>, _>>()?.join(&separator)))
        }),
        _ => return Err(TemplateError::UnknownFunction { name: name.to_owned() }),
    };
    let value = value.and_then(|value| given.finish().map(|()| value));
    value.map_err(|reason| TemplateError::Call { function: name.to_owned(), reason })
}

/// The functions from addresses to addresses.
fn selected(name: &str, given: &mut Arguments) -> Result<Vec<InterfaceAddress>, String> {
    match name {
        "limit" => {
            let (count, mut addresses) = (given.number()?, given.addresses()?);
            let count = usize::try_from(count).map_err(|_| format!("{count} is below 0"))?;
            addresses.truncate(count);
            Ok(addresses)
        }
        "offset" => {
            let (count, mut addresses) = (given.number()?, given.addresses()?);
            let (asked, all) = (count.unsigned_abs(), addresses.len());
            let Some(asked) = usize::try_from(asked).ok().filter(|it| *it <= all) else {
                return Err(format!("{count} is beyond the {all} addresses that there are"));
            };
            // A negative one counts from the end.
            Ok(addresses.split_off(if count < 0 { all - asked } else { asked }))
        }
        "sort" => given.text().and_then(|by| sorted(given.addresses()?, &by)),
        "unique" => given.text().and_then(|by| unique(given.addresses()?, &by)),
        _ => {
            let (what, value, addresses) = (given.text()?, given.text()?, given.addresses()?);
            match name {
                "include" => Ok(partition(&what, &value, addresses)?.0),
                "exclude" => Ok(partition(&what, &value, addresses)?.1),
                _ => addresses.iter().map(|it| calculated(it, &what, &value)).collect(),
            }
        }
    }
}

/// Private addresses that others may reach, of interfaces that are up; those of the default route come first.
pub(crate) fn private(machine: &[InterfaceAddress]) -> Vec<InterfaceAddress> {
    reachable(machine, |it| is_of_rfc(it, 6890))
}

/// Public addresses that others may reach, of interfaces that are up; those of the default route come first.
pub(crate) fn public(machine: &[InterfaceAddress]) -> Vec<InterfaceAddress> {
    reachable(machine, |it| !is_of_rfc(it, 6890))
}

fn reachable(
    machine: &[InterfaceAddress],
    is_wanted: impl Fn(&InterfaceAddress) -> bool,
) -> Vec<InterfaceAddress> {
    let reachable = machine.iter().filter(|it| it.is_up && is_forwarded(it) && is_wanted(it));
    let reachable = reachable.cloned().collect();
    sorted(reachable, "default,type,size").unwrap_or_default()
}

pub(super) fn is_forwarded(address: &InterfaceAddress) -> bool {
    !is_of_any(address, NOT_FORWARDED)
}

/// The first address of the interfaces that a regular expression fits. Where no address of them is forwarded, go-sockaddr
/// gives nothing, and Consul does not start; here it is another one that is no link's own, such as 127.0.0.1 of `lo`.
fn interface_ip(name: &str, machine: &[InterfaceAddress]) -> Result<Value, String> {
    let named = sorted(partition("name", name, machine.to_vec())?.0, "type,size")?;
    let (forwarded, others): (Vec<_>, Vec<_>) = named.into_iter().partition(is_forwarded);
    if !forwarded.is_empty() {
        return Ok(first(&forwarded));
    }
    let (_, others) = partition("network", "169.254.0.0/16|fe80::/10", others)?;
    Ok(first(&others))
}

fn first(addresses: &[InterfaceAddress]) -> Value {
    texts(addresses.get(..1).unwrap_or_default())
}

fn texts(addresses: &[InterfaceAddress]) -> Value {
    let texts: Vec<String> = addresses.iter().map(|it| it.ip.to_string()).collect();
    Value::Text(texts.join(" "))
}

/// What a function is called with, in order.
struct Arguments(std::vec::IntoIter<Value>);

impl Arguments {
    fn next(&mut self) -> Result<Value, String> {
        self.0.next().ok_or_else(|| "an argument is missing".to_owned())
    }

    fn text(&mut self) -> Result<String, String> {
        match self.next()? {
            Value::Text(text) => Ok(text),
            Value::Number(number) => Err(format!("{number} must be a text: \"{number}\"")),
            Value::Addresses(_) => Err("a text is wanted, not a list of interfaces".to_owned()),
        }
    }

    /// A number; it may be written as a text.
    fn number(&mut self) -> Result<i64, String> {
        match self.next()? {
            Value::Number(number) => Ok(number),
            Value::Text(text) => text.parse().map_err(|_| format!("{text:?} is no whole number")),
            Value::Addresses(_) => Err("a number is wanted, not a list of interfaces".to_owned()),
        }
    }

    fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, String> {
        match self.next()? {
            Value::Addresses(addresses) => Ok(addresses),
            Value::Text(text) => Err(format!("a list of interfaces is wanted, not {text:?}")),
            Value::Number(number) => Err(format!("a list of interfaces is wanted, not {number}")),
        }
    }

    fn finish(mut self) -> Result<(), String> {
        match self.0.next() {
            None => Ok(()),
            Some(_) => Err("there are too many arguments".to_owned()),
        }
    }
}
