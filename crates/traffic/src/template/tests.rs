use proptest::prelude::*;

use super::{TemplateRewrite, UriTemplate};

fn check(template: &str, path: &str, expected: bool) {
    assert_eq!(UriTemplate::new(template).unwrap().matches(path), expected, "{template} {path}");
}

#[test]
fn a_star_is_one_segment_and_two_are_the_rest() {
    check("/videos/*/*/*.m4s", "/videos/123414/hls/1080p5000_00001.m4s", true);
    check("/videos/*/*/*.m4s", "/videos/hls/1080p5000_00001.m4s", false);
    check("/videos/{file}", "/videos/1080p5000_00001.m4s", true);
    check("/videos/{file}", "/videos/", false);
    check("/videos/{file}", "/videos/a/b", false);
    check("/**.mpd", "/content/123/india/dash/55/manifest.mpd", true);
    check("/**", "/", true);
    check("/a/**", "/a", false);
    check("/a/**", "/a/", true);
    check("/a/**", "/a/b/c", true);
    check("/api/{version=v1/*}/users", "/api/v1/beta/users", true);
    check("/api/{version=v1/*}/users", "/api/v2/beta/users", false);
    check("/", "/", true);
    check("/", "/a", false);
    check("/a/", "/a/", true);
    check("/a/", "/a", false);
    check("/a.b", "/axb", false);
    check("/a/*", "/a/b=c", false);
}

#[test]
fn a_template_that_is_not_one_is_refused_with_a_reason() {
    for (template, why) in [
        ("", "begin with /"),
        ("a", "begin with /"),
        ("//a", "a segment is empty"),
        ("/a*", "'*' cannot stand in a literal"),
        ("/*a*", "cannot stand in a literal"),
        ("/*a/b", "must be a literal, and the end"),
        ("/{a", "not closed"),
        ("/{}", "not the name"),
        ("/{1a}", "not the name"),
        ("/{a=}", "a segment is empty"),
        ("/{a=*/}", "a segment is empty"),
        ("/{a=*b}", "must be whole"),
        ("/{a}/{a}", "there twice"),
        ("/**/*", "after **"),
        ("/**/{a}", "after **"),
        ("/**/**", "there twice"),
        ("/{a}/{b}/{c}/{d}/{e}/{f}", "more than 5"),
        ("/{abcdefghijklmnopq}", "longer than 16"),
        ("/{a={b}}", "cannot stand in a literal"),
    ] {
        let error = UriTemplate::new(template).unwrap_err();
        assert!(error.contains(why), "{template}: {error}");
    }
}

#[test]
fn variables_go_where_the_rewrite_names_them() {
    let check = |template: &str, rewrite: &str, path: &str, expected: &str| {
        let template = UriTemplate::new(template).unwrap();
        let rewrite = TemplateRewrite::new(&template, rewrite).unwrap();
        assert_eq!(rewrite.apply(path).as_deref(), Some(expected), "{path}");
    };
    check("/a/{name}/{rest=**}", "/{rest}/of/{name}", "/a/x/y/z", "/y/z/of/x");
    check("/a/{name}/{rest=**}", "/new{name}", "/a/x/", "/newx");
    check("/v/{one=k/*/l}.m4s", "/{one}-{one}", "/v/k/7/l.m4s", "/k/7/l-k/7/l");
    let template = UriTemplate::new("/a/{name}").unwrap();
    assert!(TemplateRewrite::new(&template, "/{other}").unwrap_err().contains("no variable"));
    assert!(TemplateRewrite::new(&template, "x").unwrap_err().contains("begin with /"));
    assert!(TemplateRewrite::new(&template, "/{name").unwrap_err().contains("not closed"));
    assert!(TemplateRewrite::new(&template, "/ ").unwrap_err().contains("' '"));
    assert_eq!(TemplateRewrite::new(&template, "/").unwrap().apply("/b"), None);
}

/// One token of a template as the grammar says, tried in all ways.
fn backtracking(template: &[u8], path: &[u8]) -> bool {
    let is_segment = |byte: u8| byte.is_ascii_lowercase() || byte == b'.';
    let (least, is_rest, after) = match template {
        [] => return path.is_empty(),
        [b'*', b'*', after @ ..] => (0, true, after),
        [b'*', after @ ..] => (1, false, after),
        [byte, after @ ..] => return path.first() == Some(byte) && backtracking(after, &path[1..]),
    };
    let run = path.iter().take_while(|it| is_segment(**it) || is_rest && **it == b'/').count();
    (least..=run).any(|taken| backtracking(after, &path[taken..]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn matching_is_what_backtracking_finds(
        segments in proptest::collection::vec("a|b|\\*|ab", 0..4),
        end in "(|/|\\*\\*|\\*\\*\\.b|\\*\\*/a)",
        path in "/[ab./]{0,8}",
    ) {
        let template = format!("/{}", segments.join("/"));
        let template = if template.len() > 1 && end.starts_with('*') {
            format!("{template}/{end}")
        } else {
            format!("{template}{end}")
        };
        prop_assume!(template != "//");
        let compiled = UriTemplate::new(&template).unwrap();
        let expected = backtracking(template.as_bytes(), path.as_bytes());
        prop_assert_eq!(compiled.matches(&path), expected, "{} {}", template, path);
        prop_assert!(!expected || path.starts_with(compiled.literal_prefix()));
    }

    #[test]
    fn no_text_makes_a_template_panic(text in "/[a*{}=/.]{0,12}|.{0,12}", path in "/.{0,12}") {
        if let Ok(template) = UriTemplate::new(&text) {
            prop_assert_eq!(template.capture(&path).is_some(), template.matches(&path));
        }
    }
}
