/// Replaces each `$(NAME)` by what `lookup` finds, as Kubernetes does in `command` and `args`: `$$` stands for one `$`, so
/// `$$(NAME)` stays as `$(NAME)`; a name that is not found, or a parenthesis that is not closed, stays as it is.
#[must_use]
pub fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut expanded = String::with_capacity(text.len());
    for part in parts(text) {
        match part {
            Part::Plain(plain) => expanded.push_str(plain),
            Part::Reference { name, written } => {
                expanded.push_str(lookup(name).unwrap_or(written));
            }
        }
    }
    expanded
}

/// The names that a text refers to as `$(NAME)`, in order.
pub fn references(text: &str) -> impl Iterator<Item = &str> {
    parts(text).filter_map(|part| match part {
        Part::Plain(_) => None,
        Part::Reference { name, .. } => Some(name),
    })
}

enum Part<'a> {
    Plain(&'a str),
    Reference { name: &'a str, written: &'a str },
}

fn parts(mut rest: &str) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (part, after) = first_part(rest);
        rest = after;
        Some(part)
    })
}

/// The first part of a text that is not empty, and what follows.
fn first_part(text: &str) -> (Part<'_>, &str) {
    let Some(after) = text.strip_prefix('$') else {
        let (plain, after) = text.split_at(text.find('$').unwrap_or(text.len()));
        return (Part::Plain(plain), after);
    };
    if let Some(after) = after.strip_prefix('$') {
        return (Part::Plain("$"), after);
    }
    let Some(inner) = after.strip_prefix('(') else { return (Part::Plain("$"), after) };
    match inner.split_once(')') {
        Some((name, after)) => {
            let written = &text[..text.len() - after.len()];
            (Part::Reference { name, written }, after)
        }
        None => (Part::Plain("$("), inner),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let lookup = |name: &str| match name {
            "PORT" => Some("8080"),
            "EMPTY" => Some(""),
            "DOLLAR" => Some("$(PORT)"),
            _ => None,
        };
        assert_eq!(expand(text, lookup), expected, "{text}");
    }

    /// The cases of Kubernetes' own `expansion` package, as far as they differ from each other.
    #[test]
    fn references_are_replaced_as_in_kubernetes() {
        check("", "");
        check("plain", "plain");
        check("127.0.0.1:$(PORT)", "127.0.0.1:8080");
        check("$(PORT)$(PORT)é$(EMPTY).", "80808080é.");
        check("$(DOLLAR)", "$(PORT)");
        check("$$(PORT)", "$(PORT)");
        check("$$$(PORT)", "$8080");
        check("$$$$(PORT)", "$$(PORT)");
        check("$(NOBODY)", "$(NOBODY)");
        check("$()", "$()");
        check("$($(PORT))", "$($(PORT))");
        check("$(PORT", "$(PORT");
        check("$PORT $", "$PORT $");
    }

    proptest! {
        #[test]
        fn a_text_without_dollars_stays(text in "[^$]*") {
            prop_assert_eq!(expand(&text, |_| Some("x")), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[$()Aé]{0,12}") {
            let known = expand(&text, |_| Some(""));
            prop_assert!(known.len() <= text.len());
        }
    }
}
