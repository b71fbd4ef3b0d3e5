use http::Uri;

/// The absolute URI that a `Location` means when it comes in answer to `base` (RFC 3986, section
/// 5.2, without dot segments, which servers resolve themselves). `None` when it is not a URI.
pub(super) fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let has_scheme = location
        .split_once(':')
        .is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let absolute = if has_scheme && location.contains("://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') || location.is_empty() {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    absolute.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_relative_to_the_request() {
        let check = |location: &str, expected: &str| {
            let base: Uri = "http://a:81/b/c?d".parse().unwrap();
            let resolved = resolve(&base, location).map(|uri| uri.to_string());
            assert_eq!(resolved.as_deref(), Some(expected), "{location}");
        };
        check("https://x/y#z", "https://x/y");
        check("//x/y", "http://x/y");
        check("/y?q=http://z", "http://a:81/y?q=http://z");
        check("y", "http://a:81/b/y");
        check("?q", "http://a:81/b/c?q");
        check("", "http://a:81/b/c");
    }

    #[test]
    fn a_location_that_is_no_uri_is_refused() {
        let base: Uri = "http://a/".parse().unwrap();
        assert_eq!(resolve(&base, "http://a b/"), None);
    }
}
