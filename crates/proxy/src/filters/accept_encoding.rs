//! What a client says about the encodings that it takes (RFC 9110, section 12.5.3).

use http::HeaderValue;
use proxy_config::Compressor;

/// The compressor that suits the client best; among equals the one that the configuration prefers. `None` when the
/// client takes none of them, or the content as it is before them.
pub(super) fn chosen(accepted: &[HeaderValue], algorithms: &[Compressor]) -> Option<Compressor> {
    let mut best: Option<(u32, Compressor)> = None;
    for algorithm in algorithms {
        let weight = weight(accepted, name(*algorithm));
        if weight > 0 && best.is_none_or(|(of_best, _)| weight > of_best) {
            best = Some((weight, *algorithm));
        }
    }
    // What is not said of `identity` is that it is taken, after all that are named.
    let identity = explicit(accepted, "identity").unwrap_or(0);
    best.filter(|(weight, _)| *weight >= identity).map(|(_, algorithm)| algorithm)
}

pub(super) fn name(algorithm: Compressor) -> &'static str {
    match algorithm {
        Compressor::Gzip { .. } => "gzip",
        Compressor::Brotli { .. } => "br",
    }
}

/// In thousandths.
fn weight(accepted: &[HeaderValue], coding: &str) -> u32 {
    explicit(accepted, coding).or_else(|| explicit(accepted, "*")).unwrap_or(0)
}

fn explicit(accepted: &[HeaderValue], coding: &str) -> Option<u32> {
    let elements = accepted.iter().filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(','));
    for element in elements {
        let mut parts = element.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default();
        let is_it = named.eq_ignore_ascii_case(coding)
            || coding == "gzip" && named.eq_ignore_ascii_case("x-gzip");
        if is_it {
            let quality = parts.find_map(|it| it.strip_prefix("q=").or(it.strip_prefix("Q=")));
            return Some(quality.map_or(1000, thousandths));
        }
    }
    None
}

/// `0.5` is 500; what is no such number is 0.
fn thousandths(text: &str) -> u32 {
    let value: f32 = text.trim().parse().unwrap_or(0.0);
    if value.is_finite() { (value.clamp(0.0, 1.0) * 1000.0).round() as u32 } else { 0 }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proxy_config::Compressor;

    use super::{chosen, name};

    fn check(accepted: &str, expected: Option<&str>) {
        let algorithms = [Compressor::Brotli { quality: 3 }, Compressor::Gzip { level: 1 }];
        let accepted = [HeaderValue::try_from(accepted).unwrap()];
        assert_eq!(chosen(&accepted, &algorithms).map(name), expected, "{accepted:?}");
    }

    #[test]
    fn the_client_s_preference_comes_before_the_proxy_s() {
        check("gzip, br", Some("br"));
        check("gzip;q=1, br;q=0.9", Some("gzip"));
        check("GZIP", Some("gzip"));
        check("x-gzip", Some("gzip"));
        check("*", Some("br"));
        check("*;q=0.5, br;q=0", Some("gzip"));
        check("deflate, zstd", None);
        check("", None);
        check("gzip;q=0", None);
        check("gzip;q=0.2, identity", None);
        check("gzip;q=nonsense", None);
        check("gzip ; q=0.001", Some("gzip"));
    }

    #[test]
    fn silence_takes_the_content_as_it_is() {
        assert_eq!(chosen(&[], &[Compressor::Gzip { level: 1 }]), None);
    }
}
