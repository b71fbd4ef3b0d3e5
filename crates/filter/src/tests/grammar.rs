use super::*;
use crate::parse::parse;

fn condition(selector: &[&str], operator: Operator, negated: bool, value: &str) -> Expression {
    Expression::Match(Condition {
        selector: Selector(selector.iter().map(|part| (*part).to_owned()).collect()),
        operator,
        negated,
        value: value.to_owned(),
    })
}

#[test]
fn comparisons_are_read_in_every_notation() {
    use Operator::{Empty, Equal, In, Matches};
    let cases = [
        ("foo == 3", condition(&["foo"], Equal, false, "3")),
        ("foo==3", condition(&["foo"], Equal, false, "3")),
        ("foo != xyz", condition(&["foo"], Equal, true, "xyz")),
        ("list is empty", condition(&["list"], Empty, false, "")),
        ("list is not empty", condition(&["list"], Empty, true, "")),
        ("foo in bar", condition(&["bar"], In, false, "foo")),
        ("foo not in bar", condition(&["bar"], In, true, "foo")),
        ("bar contains foo", condition(&["bar"], In, false, "foo")),
        ("bar not contains foo", condition(&["bar"], In, true, "foo")),
        ("foo matches bar", condition(&["foo"], Matches, false, "bar")),
        ("foo not matches bar", condition(&["foo"], Matches, true, "bar")),
        ("\t\r\n foo \t\r\n == \t\r\n x \t\r\n", condition(&["foo"], Equal, false, "x")),
        (" ( foo  not \n in x ) ", condition(&["x"], In, true, "foo")),
        ("((foo == x))", condition(&["foo"], Equal, false, "x")),
        // Values.
        ("foo == 0.2", condition(&["foo"], Equal, false, "0.2")),
        ("foo == -11.11", condition(&["foo"], Equal, false, "-11.11")),
        ("(foo == 3)", condition(&["foo"], Equal, false, "3")),
        ("foo == a.b.c", condition(&["foo"], Equal, false, "a.b.c")),
        ("foo == a[\"b-c\"].d", condition(&["foo"], Equal, false, "a.b-c.d")),
        ("foo == \"a b\\t\\x41\"", condition(&["foo"], Equal, false, "a b\tA")),
        ("foo == `a\"b\\`", condition(&["foo"], Equal, false, "a\"b\\")),
        ("foo == \"\"", condition(&["foo"], Equal, false, "")),
        ("32 in foo", condition(&["foo"], In, false, "32")),
        // Selectors.
        (
            "`e` in foo.bar[\"meta\"].tags[\t`ENV` ]",
            condition(&["foo", "bar", "meta", "tags", "ENV"], In, false, "e"),
        ),
        ("e in foo[\"abc-def ghi åß\"]", condition(&["foo", "abc-def ghi åß"], In, false, "e")),
        // Words of the grammar are no reserved words.
        ("not == 3", condition(&["not"], Equal, false, "3")),
        ("not in bar", condition(&["bar"], In, false, "not")),
        ("in in in", condition(&["in"], In, false, "in")),
        ("is is empty", condition(&["is"], Empty, false, "")),
        ("order == 1", condition(&["order"], Equal, false, "1")),
        ("android == 1", condition(&["android"], Equal, false, "1")),
        ("notes == 1", condition(&["notes"], Equal, false, "1")),
    ];
    for (text, expression) in cases {
        assert_eq!(parse(text), Ok(expression), "{text}");
    }
}

#[test]
fn not_binds_tighter_than_and_than_or() {
    let cases = [
        ("a == 1 or b == 1 and not c == 1", "a == \"1\" or b == \"1\" and not c == \"1\""),
        ("(a == 1 or b == 1) and c == 1", "(a == \"1\" or b == \"1\") and c == \"1\""),
        ("not (a == 1 or b == 1)", "not (a == \"1\" or b == \"1\")"),
        ("not a == 1 or b == 1", "not a == \"1\" or b == \"1\""),
        ("not (not a == 1)", "a == \"1\""),
        ("not not not a == 1", "not a == \"1\""),
        ("a == 1 and (b == 1 and c == 1)", "a == \"1\" and (b == \"1\" and c == \"1\")"),
        ("(((a is empty)) or ((b is empty)))", "a is empty or b is empty"),
        ("not not in a", "not a contains \"not\""),
    ];
    for (text, printed) in cases {
        assert_eq!(parse(text).map(|it| it.to_string()), Ok(printed.to_owned()), "{text}");
    }
}

#[test]
fn what_is_malformed_is_pointed_at() {
    let cases = [
        ("foo == \"12x", "1:12 (11): rule \"string\": Unterminated string literal"),
        ("foo == `12x", "1:12 (11): rule \"string\": Unterminated string literal"),
        ("foo == \"a\\\"b\"", "1:8 (7): rule \"string\": invalid syntax"),
        ("foo == 3x", "1:9 (8): rule \"number\": Invalid number literal"),
        ("foo == 10.0.0.1", "1:12 (11): rule \"number\": Invalid number literal"),
        ("foo == 03", "1:9 (8): rule \"number\": Invalid number literal"),
        ("foo[3] == abc", "1:5 (4): rule \"index\": Invalid index"),
        ("x in foo[\"abc\"", "1:15 (14): rule \"index\": Unclosed index expression"),
        ("foo[\"abc\" == 3", "1:11 (10): rule \"index\": Unclosed index expression"),
        ("x in 32", "1:6 (5): rule \"match\": Invalid selector"),
        ("(foo == 4", "1:10 (9): rule \"grouping\": Unmatched parentheses"),
        ("not (foo == 4", "1:14 (13): rule \"grouping\": Unmatched parentheses"),
        ("32 == 32", "1:4 (3): no match found, expected: \"in\", \"not\" or [ \\t\\r\\n]"),
        ("32 is empty", "1:4 (3): no match found, expected: \"in\", \"not\" or [ \\t\\r\\n]"),
        (
            "x in foo abc",
            "1:10 (9): no match found, expected: \"and\", \"or\", [ \\t\\r\\n] or EOF",
        ),
        (
            "x in foo and ",
            "1:14 (13): no match found, expected: \"(\", \"-\", \"0\", \"\\\"\", \"`\", \"not\", \
             [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
        (
            "x in foo or not ",
            "1:17 (16): no match found, expected: \"!=\", \"(\", \"-\", \"0\", \"==\", \"\\\"\", \
             \"`\", \"contains\", \"in\", \"is\", \"matches\", \"not\", [ \\t\\r\\n], [1-9] or [a-zA-Z]",
        ),
    ];
    for (text, error) in cases {
        let expected = format!("Failed to create boolean expression evaluator: {error}");
        assert_eq!(parse(text).map_err(|it| it.to_string()), Err(expected), "{text}");
    }
}

#[test]
fn what_the_grammar_does_not_have_is_refused() {
    let cases = [
        " ",
        "foo",
        "foo = 3",
        "foo == web-1",
        "foo == 3 AND bar == 3",
        "foo == 3 && bar == 3",
        "not(foo == 3)",
        "foo == 3 and",
        "foo == 3 or or bar == 3",
        "(foo == 3))",
        "foo is",
        "foo is notempty",
        "foo is not  emptyx",
        "foo not containsmatches x",
        "foo notin bar",
        "foo..bar == 3",
        "foo.1 == 3",
        "_foo == 3",
        "/foo == 3",
        "\"/foo\" == 3",
        "foo > 3",
        "é == 3",
        "foo == 3é",
        "all foo as x { x == 1 }",
    ];
    for text in cases {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn nesting_is_bounded_but_length_is_not() {
    let parentheses = |depth: usize| format!("{}a == 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&parentheses(64)).is_ok());
    assert_eq!(parse(&parentheses(65)), Err(FilterError::TooDeep));
    assert!(parse(&format!("{}a == 1", "not ".repeat(64))).is_ok());
    assert_eq!(parse(&format!("{}a == 1", "not ".repeat(65))), Err(FilterError::TooDeep));
    assert_eq!(parse(&"(".repeat(100_000)), Err(FilterError::TooDeep));
    assert!(parse(&vec!["a == 1"; 10_000].join(" or ")).is_ok());
}

fn any_expression() -> impl Strategy<Value = Expression> {
    let operator = prop_oneof![
        Just(Operator::Equal),
        Just(Operator::In),
        Just(Operator::Matches),
        Just(Operator::Empty)
    ];
    let first = prop_oneof!["[a-zA-Z][a-zA-Z0-9_]{0,4}", Just("not".to_owned())];
    let others = prop::collection::vec(prop_oneof!["[a-zA-Z][a-zA-Z0-9_]{0,4}", ".{0,6}"], 0..3);
    let leaf = (first, others, operator, any::<bool>(), ".{0,8}").prop_map(
        |(first, others, operator, negated, value)| {
            let mut path = vec![first];
            path.extend(others);
            let value = if operator == Operator::Empty { String::new() } else { value };
            // `not not matches x` is the negation of `not matches x`, so no text means this one.
            let is_unsayable = path == ["not"] && operator == Operator::Matches;
            let negated = negated && !is_unsayable;
            Expression::Match(Condition { selector: Selector(path), operator, negated, value })
        },
    );
    leaf.prop_recursive(5, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::Or),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expression::And),
            inner.prop_map(|inner| match inner {
                Expression::Not(inner) => *inner,
                inner => Expression::Not(Box::new(inner)),
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_back_equal(expression in any_expression()) {
        let text = expression.to_string();
        prop_assert_eq!(parse(&text), Ok(expression), "{}", text);
    }

    #[test]
    fn no_text_makes_it_panic(text in "([a-c]|not |and |or |in |is |empty|==|!=|[\"`().\\[\\] 0-9\\\\é-])*") {
        let _ = parse(&text);
    }
}
