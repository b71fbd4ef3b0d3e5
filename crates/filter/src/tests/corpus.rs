//! Nothing that is made of the corpus does harm: a filter or an error that points into the text; what is read prints, and
//! what is printed reads as the same.

use super::*;
use crate::parse::parse;

/// Filters by whether they are of the grammar.
const FILTERS: &str = include_str!("../../corpus/filters.txt");

/// Bytes that mean something in a filter.
const TELLING: &[u8] = b"\"`()[].=!\\ \n09-anotis\xc3\xff";

static SCHEMAS: [&Schema; 3] = [&CHECK_SERVICE_NODE, &NODE, &HEALTH_CHECK];

fn corpus() -> Vec<(bool, &'static str)> {
    let filters: Vec<_> = FILTERS
        .split("=== ")
        .skip(1)
        .map(|case| {
            let (kind, text) = case.split_once('\n').unwrap();
            (kind == "good", text.strip_suffix('\n').unwrap())
        })
        .collect();
    assert!(filters.len() > 50, "the corpus has been read");
    filters
}

/// What holds of any text.
fn read(text: &str) {
    match parse(text) {
        Ok(expression) => {
            let printed = expression.to_string();
            assert_eq!(parse(&printed).as_ref(), Ok(&expression), "{text} printed as {printed}");
        }
        Err(error) => {
            let told = error.to_string();
            // The place is given as line, column and offset.
            let offset = told.split_once(" (").and_then(|it| it.1.split_once(')'));
            if let Some(offset) = offset.and_then(|it| it.0.parse::<usize>().ok()) {
                assert!(offset <= text.len(), "{text}: {told}");
            }
        }
    }
    for schema in SCHEMAS {
        if let Err(error) = Filter::parse(text, schema) {
            assert!(error.to_string().starts_with(PREFIX), "{error}");
        }
    }
}

fn read_bytes(bytes: &[u8]) {
    read(&String::from_utf8_lossy(bytes));
}

#[test]
fn filters_of_the_corpus_are_of_the_grammar_or_not_as_it_says() {
    let corpus = corpus();
    let is_otherwise = |(is_good, text): &&(bool, &str)| parse(text).is_ok() != *is_good;
    let otherwise: Vec<_> = corpus.iter().filter(is_otherwise).collect();
    assert!(otherwise.is_empty(), "{otherwise:#?}");
    corpus.iter().for_each(|(_, text)| read(text));
}

#[test]
fn every_beginning_and_end_of_a_filter_is_read_to_its_end() {
    for (_, text) in corpus() {
        for at in 0..=text.len() {
            read_bytes(&text.as_bytes()[..at]);
            read_bytes(&text.as_bytes()[at..]);
        }
    }
}

#[test]
fn every_byte_of_a_filter_may_be_another() {
    for (_, text) in corpus() {
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            // Each place gets some of the telling bytes, so that all come everywhere and the test ends soon.
            for telling in TELLING.iter().skip(at % 5).step_by(5) {
                bytes[at] = *telling;
                read_bytes(&bytes);
            }
            bytes.remove(at);
            read_bytes(&bytes);
        }
    }
}

#[test]
fn a_filter_of_the_corpus_joined_to_another_is_read() {
    let corpus = corpus();
    for (_, first) in &corpus {
        for (_, second) in &corpus {
            for between in [" and ", " or not ", ""] {
                read(&format!("{first}{between}{second}"));
            }
        }
    }
}

proptest! {
    #[test]
    fn what_chance_makes_of_the_corpus_does_no_harm(
        which in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(TELLING.to_vec())), 0..8),
    ) {
        let corpus = corpus();
        let (a, b) = (which.0.get(&corpus).1.as_bytes(), which.1.get(&corpus).1.as_bytes());
        let mut bytes = a[..cuts.0.index(a.len() + 1)].to_vec();
        bytes.extend_from_slice(&b[cuts.1.index(b.len() + 1)..]);
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        read_bytes(&bytes);
    }
}
