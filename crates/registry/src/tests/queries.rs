//! Prepared queries as values: which one a name finds, what a template makes, and a corpus of templates that is harmed.

use model::{FlatMap, PreparedQuery, QueryTemplate, ServiceQuery};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{RecordCondition, check_template, find_query, rendered};

/// Cases `=== pattern | name | asked`, the template, `---`, and what is made of it, or `! ` and the error.
const TEMPLATES: &str = include_str!("../../corpus/templates.txt");

/// Bytes that mean something in a template or a pattern.
const TELLING: &[u8] = b"${}()[]*+?.|\\^-0 9nm\n,\xc3\xa9";

struct Case<'a> {
    pattern: &'a str,
    name: &'a str,
    asked: &'a str,
    text: &'a str,
    expected: &'a str,
}

fn cases() -> Vec<Case<'static>> {
    let cases: Vec<_> = TEMPLATES
        .split("=== ")
        .skip(1)
        .map(|case| {
            let (head, rest) = case.split_once('\n').unwrap();
            let (text, expected) = rest.split_once("\n---\n").unwrap();
            let mut head = head.split(" | ");
            let mut next = || head.next().unwrap().trim();
            let (pattern, name, asked) = (next(), next(), next());
            Case { pattern, name, asked, text, expected: expected.trim_end_matches('\n') }
        })
        .collect();
    assert!(cases.len() >= 20, "the corpus has been read");
    cases
}

fn template(pattern: &str, name: &str, text: &str) -> PreparedQuery {
    PreparedQuery {
        id: "q".into(),
        name: name.into(),
        template: QueryTemplate {
            kind: "name_prefix_match".into(),
            regexp: pattern.into(),
            remove_empty_tags: false,
        },
        service: ServiceQuery {
            service: text.into(),
            tags: vec![text.into(), format!("!{text}")],
            near: text.into(),
            node_meta: [("k", text.to_owned())].into_iter().collect::<FlatMap<String>>(),
            ..ServiceQuery::default()
        },
        ..PreparedQuery::default()
    }
}

/// What holds of any template: it is made, or refused with a text for people; made again it is the same, and every text of
/// it is made alike.
fn render(pattern: &str, name: &str, asked: &str, text: &str) -> Result<String, String> {
    let query = template(pattern, name, text);
    match rendered(&query, asked) {
        Ok(made) => {
            let service = &made.service;
            assert_eq!(service.tags, [service.service.clone(), format!("!{}", service.service)]);
            assert_eq!(service.near, service.service);
            assert_eq!(service.node_meta.get("k"), Some(&service.service));
            assert_eq!(rendered(&query, asked).as_ref(), Ok(&made));
            assert_eq!((&made.id, &made.name), (&query.id, &query.name));
            Ok(service.service.clone())
        }
        Err(error) => {
            // What cannot be made for one name can be made for none, so it is refused when it is written.
            assert_eq!(check_template(&query).as_ref(), Err(&error));
            Err(error.to_string())
        }
    }
}

#[test]
fn templates_become_what_the_corpus_says() {
    for Case { pattern, name, asked, text, expected } in cases() {
        match render(pattern, name, asked, text) {
            Ok(made) => assert_eq!(made, expected, "{text}"),
            Err(error) => assert_eq!(format!("! {error}"), expected, "{text}"),
        }
    }
}

#[test]
fn a_text_that_becomes_too_long_is_refused() {
    let text = "${name.full}".repeat(100);
    assert_eq!(render("", "", "web", &text).map(|it| it.len()), Ok(300));
    let told = rendered(&template("", "", &text), &"x".repeat(100)).unwrap_err();
    assert_eq!(told, crate::TemplateError::TooLong);
}

#[test]
fn every_beginning_of_a_template_is_read_to_its_end() {
    for Case { pattern, name, asked, text, .. } in cases() {
        for (end, _) in text.char_indices() {
            let _ = render(pattern, name, asked, &text[..end]);
        }
        for (end, _) in pattern.char_indices() {
            let _ = render(&pattern[..end], name, asked, text);
        }
        for (end, _) in asked.char_indices() {
            let _ = render(pattern, name, &asked[..end], text);
        }
    }
}

#[test]
fn every_byte_of_a_template_may_be_another() {
    for Case { pattern, name, asked, text, .. } in cases() {
        for at in 0..text.len() {
            for telling in TELLING {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = *telling;
                let _ = render(pattern, name, asked, &String::from_utf8_lossy(&bytes));
            }
        }
        for at in 0..pattern.len() {
            for telling in TELLING {
                let mut bytes = pattern.as_bytes().to_vec();
                bytes[at] = *telling;
                let _ = render(&String::from_utf8_lossy(&bytes), name, asked, text);
            }
        }
    }
}

proptest! {
    #[test]
    fn what_chance_makes_of_the_corpus_is_made_or_refused(
        which in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        changes in vec((any::<prop::sample::Index>(), prop::sample::select(TELLING.to_vec())), 0..6),
        asked in "[a-z0-9${}().-]{0,12}|.{0,4}",
        name in "[a-z]{0,3}|.{0,2}",
    ) {
        let all = cases();
        let (first, second) = (which.0.get(&all), which.1.get(&all));
        let (a, b) = (first.text.as_bytes(), second.text.as_bytes());
        let mut bytes = a[..cuts.0.index(a.len() + 1)].to_vec();
        bytes.extend_from_slice(&b[cuts.1.index(b.len() + 1)..]);
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let _ = render(first.pattern, &name, &asked, &text);
        let _ = render(&text, &name, &asked, second.text);
    }

    #[test]
    fn text_without_expressions_is_left_as_it_is(text in "[^$]{0,20}", asked in ".{0,8}") {
        prop_assert_eq!(render("", "", &asked, &text), Ok(text));
    }

    #[test]
    fn what_is_made_is_not_read_as_a_template_again(asked in "(\\$\\{|name\\.full|\\}|a){0,6}") {
        prop_assert_eq!(render("", "", &asked, "<${name.full}>"), Ok(format!("<{asked}>")));
    }
}

fn catalog_of(queries: &[(&str, &str, bool)]) -> Catalog {
    let mut catalog = Catalog::default();
    for (id, name, is_template) in queries {
        let kind = if *is_template { "name_prefix_match".to_owned() } else { String::new() };
        let record = model::Record::PreparedQuery(PreparedQuery {
            id: (*id).into(),
            name: (*name).into(),
            template: QueryTemplate { kind, ..QueryTemplate::default() },
            ..PreparedQuery::default()
        });
        let put = Command::PutRecord { record, when: RecordCondition::Always };
        run(&mut catalog, &put, 1).unwrap();
    }
    catalog
}

#[test]
fn an_id_is_looked_up_before_names_and_names_before_templates() {
    let catalog = catalog_of(&[
        ("11111111-0000-0000-0000-000000000000", "web", false),
        ("2", "", true),
        ("3", "w", true),
        ("4", "we", true),
        ("5", "", false),
    ]);
    let found = |asked: &str| find_query(&catalog, asked).map(|it| it.id.clone());
    for (asked, id) in [
        ("11111111-0000-0000-0000-000000000000", "11111111-0000-0000-0000-000000000000"),
        ("web", "11111111-0000-0000-0000-000000000000"),
        ("Web", "11111111-0000-0000-0000-000000000000"),
        ("we", "4"),
        ("weB2", "4"),
        ("wall", "3"),
        ("x", "2"),
        ("5", "5"),
    ] {
        assert_eq!(found(asked).as_deref(), Some(id), "{asked}");
    }
    assert!(find_query(&catalog_of(&[("5", "", false)]), "x").is_none(), "it has no name");
}
