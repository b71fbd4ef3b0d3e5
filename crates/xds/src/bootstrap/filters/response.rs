//! Filters that change responses: compression, and permissions for pages of other origins.

use proxy_config::{Compression, Compressor, Cors, FilterSetting};

use super::super::fields::{Field, Message};
use super::super::{matching, schema};

/// Envoy's `min_content_length`.
const LENGTH_MIN: u32 = 30;

pub(super) fn read_cors(field: &Field<'_>) -> Option<FilterSetting<Cors>> {
    let mut it = field.message(&schema::CORS_POLICY)?;
    let origins = it.items("allow_origin_string_match");
    let text = |it: Option<&str>| it.unwrap_or_default().to_owned();
    let enabled = it.take("filter_enabled");
    let enabled = enabled.map_or(Some(1_000_000), |it| it.runtime_fraction())?;
    it.refuse("shadow_enabled", "a policy holds or it does not", "remove it");
    let cors = Cors {
        allow_origins: origins.iter().filter_map(matching::read_string).collect(),
        allow_methods: text(it.text("allow_methods")),
        allow_headers: text(it.text("allow_headers")),
        expose_headers: text(it.text("expose_headers")),
        max_age: text(it.text("max_age")),
        allow_credentials: it.is("allow_credentials"),
        forward_not_matching_preflights: it.bool("forward_not_matching_preflights").unwrap_or(true),
    };
    match enabled {
        0 => Some(FilterSetting::Off),
        1_000_000 => Some(FilterSetting::On(cors)),
        _ => {
            let message = "the policy holds for every request, not for a share";
            it.at("filter_enabled").approximated(message, "write 0 or 100 %");
            Some(FilterSetting::On(cors))
        }
    }
}

/// Adds a compressor to those before it, of which a client's wish chooses one.
pub(super) fn read_compressor(
    field: &Field<'_>,
    setting: &mut FilterSetting<Compression>,
    is_disabled: bool,
) {
    let Some(read) = read_one_compressor(field) else { return };
    if is_disabled {
        return;
    }
    if let FilterSetting::On(compression) = setting {
        compression.algorithms.extend(read.algorithms);
    } else {
        *setting = FilterSetting::On(read);
    }
}

fn read_one_compressor(field: &Field<'_>) -> Option<Compression> {
    let mut it = field.message(&schema::COMPRESSOR)?;
    let library = it.required("compressor_library").and_then(|it| read_library(&it));
    // The order of the filters says which one is preferred.
    it.skip(&["choose_first"]);
    it.refuse("request_direction_config", "requests are not compressed", "remove it");
    let old_length = it.u32("content_length");
    let old_types = it.texts("content_type");
    let mut is_enabled = it.runtime_flag("runtime_enabled").unwrap_or(true);
    let mut compression = Compression {
        algorithms: library.into_iter().collect(),
        length_min: old_length.unwrap_or(LENGTH_MIN),
        content_types: old_types,
        keep_etag: it.is("disable_on_etag_header"),
        remove_accept_encoding: it.is("remove_accept_encoding_header"),
    };
    if let Some(mut response) =
        it.message("response_direction_config", &schema::COMPRESSOR_RESPONSE)
    {
        compression.keep_etag = response.is("disable_on_etag_header");
        compression.remove_accept_encoding = response.is("remove_accept_encoding_header");
        if let Some(common) = response.message("common_config", &schema::COMPRESSOR_COMMON) {
            is_enabled &= read_common(common, &mut compression);
        }
    }
    (is_enabled && !compression.algorithms.is_empty()).then_some(compression)
}

fn read_common(mut it: Message<'_>, compression: &mut Compression) -> bool {
    let is_enabled = it.runtime_flag("enabled").unwrap_or(true);
    if let Some(length) = it.u32("min_content_length") {
        compression.length_min = length;
    }
    compression.content_types = it.texts("content_type");
    is_enabled
}

fn read_library(field: &Field<'_>) -> Option<Compressor> {
    let mut it = field.message(&schema::TYPED_EXTENSION)?;
    it.required_text("name");
    let (kind, config) = it.required("typed_config")?.typed()?;
    match kind {
        "extensions.compression.gzip.compressor.v3.Gzip" => {
            let mut gzip = config.message(&schema::GZIP)?;
            // They trade memory for size and change nothing else.
            gzip.skip(&["memory_level", "window_bits", "chunk_size", "compression_strategy"]);
            let level = gzip.choice("compression_level", &GZIP_LEVELS).unwrap_or(6);
            Some(Compressor::Gzip { level })
        }
        "extensions.compression.brotli.compressor.v3.Brotli" => {
            let mut brotli = config.message(&schema::BROTLI)?;
            brotli.skip(&["window_bits", "input_block_bits", "chunk_size", "encoder_mode"]);
            brotli.skip(&["disable_literal_context_modeling"]);
            let quality = brotli.u32_in("quality", 0..=11).unwrap_or(3);
            Some(Compressor::Brotli { quality: u8::try_from(quality).ok()? })
        }
        other => {
            config.ignored(format!("{other} is not supported"), "use gzip or brotli");
            None
        }
    }
}

/// `CompressionLevel`; zlib's own default is 6.
const GZIP_LEVELS: [(&str, i64, u8); 12] = [
    ("DEFAULT_COMPRESSION", 0, 6),
    ("BEST_SPEED", 1, 1),
    ("COMPRESSION_LEVEL_1", 1, 1),
    ("COMPRESSION_LEVEL_2", 2, 2),
    ("COMPRESSION_LEVEL_3", 3, 3),
    ("COMPRESSION_LEVEL_4", 4, 4),
    ("COMPRESSION_LEVEL_5", 5, 5),
    ("COMPRESSION_LEVEL_6", 6, 6),
    ("COMPRESSION_LEVEL_7", 7, 7),
    ("COMPRESSION_LEVEL_8", 8, 8),
    ("COMPRESSION_LEVEL_9", 9, 9),
    ("BEST_COMPRESSION", 9, 9),
];

/// `CompressorPerRoute`; `None` when it leaves things as they are.
pub(super) fn read_compressor_of_route(field: &Field<'_>) -> Option<FilterSetting<Compression>> {
    let mut it = field.message(&schema::COMPRESSOR_PER_ROUTE)?;
    match it.required_one_of(&["disabled", "overrides"])? {
        ("disabled", _) => Some(FilterSetting::Off),
        (_, field) => {
            let message = "a route turns compression off or leaves it as it is";
            field.ignored(message, "set it on the listener");
            None
        }
    }
}
