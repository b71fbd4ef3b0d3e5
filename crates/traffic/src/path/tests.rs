use std::borrow::Cow;

use proptest::prelude::*;
use proxy_config::{EscapedSlashes, PathNormalization};

use super::{NormalPath, has_dot_segment, normal_path};

const RESOLVE: PathNormalization = PathNormalization {
    resolve: true,
    merge_slashes: false,
    escaped_slashes: EscapedSlashes::Keep,
};

fn used(path: &str) -> NormalPath<'_> {
    NormalPath::Use(Cow::Borrowed(path))
}

#[test]
fn dot_segments_are_resolved() {
    for (path, expected) in [
        ("/a/b/c/./../../g", "/a/g"),
        ("/..", "/"),
        ("/../../a", "/a"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/a/./b", "/a/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a//../b", "/a/b"),
        ("/%7Euser/%41", "/~user/A"),
        ("/a\\..\\b", "/b"),
        ("/%2f%25%2e", "/%2f%25."),
        ("/a/...", "/a/..."),
        ("/%2%65", "/%2%65"),
        ("/100%", "/100%"),
        ("/", "/"),
        ("*", "*"),
    ] {
        assert_eq!(normal_path(path, &RESOLVE), used(expected), "{path}");
    }
}

#[test]
fn a_plain_path_is_not_copied() {
    let all = PathNormalization {
        merge_slashes: true,
        escaped_slashes: EscapedSlashes::UnescapeAndForward,
        ..RESOLVE
    };
    for path in ["/shop/items/7", "/%20", "/.well-known/x"] {
        assert!(matches!(normal_path(path, &all), NormalPath::Use(Cow::Borrowed(_))), "{path}");
    }
}

#[test]
fn dot_segments_that_are_not_resolved_are_refused() {
    let nothing = PathNormalization::default();
    for path in ["/a/..", "/./a", "/%2e%2e/a", "/a/.%2E"] {
        assert!(has_dot_segment(path), "{path}");
        assert!(matches!(normal_path(path, &nothing), NormalPath::Refused(_)), "{path}");
    }
    for path in ["/a/...", "/.a", "/a..", "/%2e%2e%2e", "/a//b", "/"] {
        assert!(!has_dot_segment(path), "{path}");
        assert_eq!(normal_path(path, &nothing), used(path));
    }
    let unescape =
        PathNormalization { escaped_slashes: EscapedSlashes::UnescapeAndForward, ..nothing };
    assert!(matches!(normal_path("/a%2F..%2Fb", &unescape), NormalPath::Refused(_)));
}

#[test]
fn escaped_slashes_are_kept_refused_redirected_or_decoded() {
    let check = |path: &str, escaped_slashes, expected: NormalPath<'_>| {
        let how = PathNormalization { escaped_slashes, ..PathNormalization::default() };
        assert_eq!(normal_path(path, &how), expected, "{path}");
    };
    check("/a%2Fb", EscapedSlashes::Keep, used("/a%2Fb"));
    check("/a%2fb", EscapedSlashes::Reject, NormalPath::Refused("the path has escaped slashes\n"));
    check("/a%20b", EscapedSlashes::Reject, used("/a%20b"));
    let redirect = EscapedSlashes::UnescapeAndRedirect;
    check("/a%2Fb%5cc", redirect, NormalPath::Redirect("/a/b\\c".to_owned()));
    check("/a%20b", redirect, used("/a%20b"));
    check("/a%2Fb", EscapedSlashes::UnescapeAndForward, used("/a/b"));
    let how = PathNormalization { escaped_slashes: redirect, merge_slashes: true, resolve: true };
    let expected = NormalPath::Redirect("/b".to_owned());
    assert_eq!(normal_path("/a%2F..%2F%2Fb", &how), expected);
}

#[test]
fn repeated_slashes_are_merged() {
    let how = PathNormalization { merge_slashes: true, ..PathNormalization::default() };
    assert_eq!(normal_path("//a///b/", &how), used("/a/b/"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]
    #[test]
    fn a_normal_path_is_normal(
        path in "/([./%\\\\]|a|%2|2|5|e|E|f|c|4|1|%2e|%2F|%5c|%65|%46){0,14}",
        resolve: bool, merge_slashes: bool, unescape: bool,
    ) {
        let escaped_slashes =
            if unescape { EscapedSlashes::UnescapeAndForward } else { EscapedSlashes::Keep };
        let how = PathNormalization { resolve, merge_slashes, escaped_slashes };
        if let NormalPath::Use(once) = normal_path(&path, &how) {
            prop_assert!(once.starts_with('/'));
            prop_assert!(!has_dot_segment(&once), "{}", once);
            prop_assert!(!merge_slashes || !once.contains("//"), "{}", once);
            prop_assert_eq!(normal_path(&once, &how), NormalPath::Use(Cow::Borrowed(&*once)));
        } else {
            prop_assert!(!resolve);
        }
    }
}
